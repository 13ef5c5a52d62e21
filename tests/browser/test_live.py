"""An open page stays fresh by itself, as long as somebody sees it."""

from __future__ import annotations

import time

from floor import WRONG_AGENT, Floor, signed_in
from playwright.async_api import Browser, expect


async def test_what_comes_in_shows_without_a_touch_and_the_focus_stays(browser: Browser, floor: Floor) -> None:
    async with signed_in(browser, floor) as person:
        page = person.page
        await floor.post(1)
        await page.goto("/dispositions")
        await expect(page.locator("#live-state")).to_have_text("Live.")
        before = await page.locator("#dispositions tbody tr").count()
        await page.keyboard.press("j")
        [one] = await floor.post(1, agent_id=WRONG_AGENT)
        rows = page.locator("#dispositions tbody tr")
        await expect(rows).to_have_count(before + 1)
        row = page.locator(f"tr:has(a[href='/dispositions/{one}'])")
        await expect(row.locator(".state")).to_have_text("failed")
        assert await page.evaluate("document.activeElement.closest('#dispositions') !== null")


async def test_a_tab_that_nobody_sees_asks_for_nothing(browser: Browser, floor: Floor) -> None:
    async with signed_in(browser, floor) as person:
        page = person.page
        await page.goto("/dispositions")
        await expect(page.locator("#live-state")).to_have_text("Live.")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
        hide += "document.dispatchEvent(new Event('visibilitychange'))"
        await page.evaluate(hide % "true")
        [one] = await floor.post(1)
        await floor.until(one, "delivered")
        await page.wait_for_timeout(2500)  # more than twice the time within which it would ask
        assert asked == []
        await page.evaluate(hide % "false")
        await expect(page.locator(f"a[href='/dispositions/{one}']")).to_be_visible()


async def test_open_pages_hold_nobody_up_who_stops_the_api(browser: Browser, floor: Floor) -> None:
    async with signed_in(browser, floor) as person:
        await expect(person.page.locator("#live-state")).to_have_text("Live.")
        began = time.monotonic()
        assert await floor.up.stop() == 0
        assert time.monotonic() - began < 15  # the grace for requests alone is 20 s
        person.troubles.clear()  # the browser tells that the stream broke off: so it did
