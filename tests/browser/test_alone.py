"""One by one, without a script: sent again, taken back, corrected; an account held and released."""

from __future__ import annotations

import re

from floor import WRONG_AGENT, Floor, signed_in
from playwright.async_api import Browser, expect


async def test_one_disposition_is_corrected_and_its_fields_say_what_is_wrong(browser: Browser, floor: Floor) -> None:
    [one] = await floor.post(1, agent_id=WRONG_AGENT, comments="wants the brochure")
    await floor.until(one, "failed")
    async with signed_in(browser, floor, "operator", java_script_enabled=False) as person:
        page = person.page
        await page.goto(f"/dispositions/{one}")
        await page.get_by_role("link", name="Correct and resend").click()
        await page.get_by_label("Call (UCID)").fill("not a number")
        await page.get_by_label("Agent").fill("asha.k")
        await page.get_by_role("button", name="Send the corrected one").click()
        await expect(page.locator(".faults")).to_contain_text("ucid")
        await expect(page.get_by_label("Agent")).to_have_value("asha.k")  # nothing that was typed is lost
        await page.get_by_label("Call (UCID)").fill("1700000000777777")
        await page.get_by_role("button", name="Send the corrected one").click()
        await expect(page.locator(".said")).to_contain_text("corrected one")
        await floor.until(page.url.partition("/dispositions/")[2].partition("?")[0], "delivered")


async def test_one_is_sent_again_and_one_is_taken_back(browser: Browser, floor: Floor) -> None:
    [failed], [waiting] = await floor.post(1, agent_id=WRONG_AGENT), await floor.post(1, disposition="retry-forever")
    await floor.until(failed, "failed")
    await floor.until(waiting, "retrying")
    async with signed_in(browser, floor, "operator", java_script_enabled=False) as person:
        page = person.page
        await page.goto(f"/dispositions/{failed}")
        await page.get_by_role("button", name="Send again as it is").click()
        await expect(page.locator(".said")).to_contain_text("sent again")
        await expect(page.locator(".timeline")).to_contain_text("by operator")
        await page.goto(f"/dispositions/{waiting}")
        await page.get_by_role("button", name="Take it back").click()
        await expect(page.locator(".standing")).to_contain_text("cancelled")


async def test_an_account_is_held_and_released_with_a_reason(browser: Browser, floor: Floor) -> None:
    async with signed_in(browser, floor, "operator", java_script_enabled=False) as person:
        page = person.page
        await page.goto("/accounts/sandbox")
        await page.get_by_label("Why").fill("CloudAgent's maintenance")
        await page.get_by_role("button", name="Hold: stop sending").click()
        await expect(page.locator(".standing")).to_contain_text("Nothing is sent since")
        [one] = await floor.post(1)
        await floor.until(one, "held")
        await page.goto("/")
        await expect(page.locator("#needs")).to_contain_text(re.compile("sandbox is on hold: [1-9]"))
        await page.get_by_role("link", name="Open the account").click()
        await expect(page.locator(".advice")).to_contain_text("CloudAgent's maintenance")
        await page.get_by_role("button", name="Release: send what waits").click()
        await expect(page.locator(".said")).to_contain_text("One call goes first")
        await floor.until(one, "delivered")


async def test_a_viewer_is_offered_nothing_that_changes_anything(browser: Browser, floor: Floor) -> None:
    [one] = await floor.post(1, agent_id=WRONG_AGENT)
    await floor.until(one, "failed")
    async with signed_in(browser, floor, "viewer") as person:
        for address in ("/", "/failures", "/dispositions?state=failed", f"/dispositions/{one}", "/accounts/sandbox"):
            await person.page.goto(address)
            forms = await person.page.locator("form[method=post]").evaluate_all("all => all.map(one => one.action)")
            assert [form for form in forms if not form.endswith("/sign-out")] == []


async def test_the_filter_is_in_the_address_and_means_the_same_to_a_colleague(browser: Browser, floor: Floor) -> None:
    [one] = await floor.post(1, agent_id="unknown-colleague", disposition="Call back")
    await floor.until(one, "failed")
    for scripted in (True, False):
        async with signed_in(browser, floor, "viewer", java_script_enabled=scripted) as person:
            page = person.page
            await page.goto("/dispositions")
            await page.locator("summary", has_text="More fields").click()
            await page.get_by_role("textbox", name="Agent", exact=True).fill("unknown-colleague")
            await page.locator(".chip", has_text="failed").click()
            await page.get_by_role("button", name="Show").click()
            await expect(page.locator("#dispositions tbody tr")).to_have_count(1)
            await expect(page).to_have_url(re.compile(r"/dispositions\?state=failed&agent_id=unknown-colleague$"))
            address = page.url
        async with signed_in(browser, floor, "operator", java_script_enabled=False) as colleague:
            await colleague.page.goto(address)
            await expect(colleague.page.locator("#dispositions tbody tr")).to_have_count(1)
