"""Some people double-click everything."""

from __future__ import annotations

import asyncio

from floor import WRONG_AGENT, Floor, signed_in
from playwright.async_api import Browser, Route, expect


async def test_a_double_click_does_a_thing_once_and_says_that_it_is_done(browser: Browser, floor: Floor) -> None:
    [one] = await floor.post(1, agent_id=f"{WRONG_AGENT}-twice")
    await floor.until(one, "failed")
    async with signed_in(browser, floor, "operator") as person:
        page = person.page
        asked, clicked_twice = list[str](), asyncio.Event()

        async def hold(route: Route) -> None:
            asked.append(route.request.url)
            await clicked_twice.wait()
            await route.continue_()

        await page.route("**/retry", hold)
        await page.goto(f"/dispositions/{one}")
        box = await page.get_by_role("button", name="Send again as it is").bounding_box()
        assert box
        place = box["x"] + 5, box["y"] + 5
        async with page.expect_request("**/retry"):
            await page.mouse.click(*place)
        await page.mouse.click(*place)
        await page.wait_for_timeout(300)  # time for a second one to leave
        clicked_twice.set()
        await expect(page.locator(".said")).to_contain_text("sent again")
    assert len(asked) == 1
