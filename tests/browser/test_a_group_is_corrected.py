"""The story of the floor: somebody signs in, finds what failed, corrects and resends the whole group, and sees it
delivered. With a script the page shows that by itself; without one, it shows it when it is opened again."""

from __future__ import annotations

import re

import pytest
from floor import WRONG_AGENT, Floor, signed_in
from playwright.async_api import Browser, Page, expect


async def correct_the_group(page: Page, wrong: str, right: str, count: int) -> None:
    """From the overview to a replay that is under way."""
    need = page.locator(".needs li", has_text=wrong)
    await expect(need).to_contain_text(f"{count} failed: Agent not known")
    await need.get_by_role("link", name="Mend it").click()
    await expect(page.locator(".advice")).to_contain_text(f"Agent '{wrong}' does not exist")
    await page.get_by_label(f"Instead of {wrong} it should be").fill(right)
    await page.get_by_role("button", name=f"Correct and resend all {count}").click()

    # Nothing is sent yet: it says what it would be, and asks why.
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"Correct and resend: {count} dispositions?")
    await expect(page.locator("#standing")).to_contain_text("Counted and frozen")
    await page.get_by_label("Why").fill("the CRM had the agent's old name")
    await page.get_by_role("button", name=re.compile("^Yes: correct and resend")).click()
    await expect(page.locator(".said")).to_contain_text("It has begun")


@pytest.mark.parametrize("scripted", [True, False], ids=["with a script", "without a script"])
async def test_a_failed_group_is_found_corrected_and_seen_delivered(
    browser: Browser, floor: Floor, scripted: bool
) -> None:
    wrong = f"{WRONG_AGENT}-{scripted}".lower()
    ids = await floor.post(4, agent_id=wrong)
    for one in ids:
        await floor.until(one, "failed")
    async with signed_in(browser, floor, "operator", java_script_enabled=scripted) as person:
        page = person.page
        await correct_the_group(page, wrong, "asha.k", 4)
        late = await floor.post(1, agent_id=wrong)  # what was counted is what is done
        address = page.url
        delivered = page.locator(".figures div", has_text="Delivered").locator("dd")
        if scripted:
            await expect(delivered).to_have_text("4", timeout=30_000)  # nobody touches the page
            assert page.url == address
        else:
            for _ in range(60):
                await page.goto(address)
                if await delivered.inner_text() == "4":
                    break
                await page.wait_for_timeout(500)
            await expect(delivered).to_have_text("4")
        await expect(page.locator("#standing .state").first).to_have_text("done")
        corrected = page.locator("#found tbody tr").first.get_by_role("link").nth(1)
        await corrected.click()
        await expect(page.locator(".standing")).to_contain_text("delivered")
        await expect(page.locator(".facts").first).to_contain_text("asha.k")
        await page.get_by_role("link", name="an earlier one").click()
        await expect(page.locator(".standing")).to_contain_text("failed")  # it stays as it was
        await page.goto("/")
        need = page.locator(".needs li", has_text=wrong)
        await floor.until(late[0], "failed")
        await page.reload()
        await expect(need).to_contain_text("failed")
