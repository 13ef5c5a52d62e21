"""axe finds nothing on any page, light or dark, wide or narrow; each fits on a phone and, in black on white, on paper.
The pictures are for a person to look at."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from floor import SCREENSHOTS, Floor, pages_of, signed_in
from playwright.async_api import Browser, Page

WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
PAPER = {"width": 794, "height": 1123}  # A4 as browsers count it


async def violations(page: Page) -> list[str]:
    """What axe finds, with the places."""
    result: Any = (await Axe().run(page, options=WCAG)).response
    return [
        f"{found['id']}: {node['html'][:200]} ({node.get('failureSummary', '')[:200]})"
        for found in result["violations"]
        for node in found["nodes"]
    ]


async def open_trial(page: Page) -> None:
    """What the test of an account found: a page without an address of its own."""
    await page.goto("/accounts/sandbox")
    await page.get_by_role("button", name="Test it").click()
    await page.locator("#trial").wait_for()


async def is_too_wide(page: Page) -> bool:
    """True if the page, all that can be opened on it opened, is wider than its window."""
    await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    return bool(await page.evaluate("document.documentElement.scrollWidth > innerWidth"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_page_breaks_a_rule(browser: Browser, floor: Floor, scheme: Any) -> None:
    found = {}
    async with signed_in(browser, floor, color_scheme=scheme, viewport=WIDE) as person:
        for name, address in (await pages_of(floor)).items():
            await person.page.goto(address)
            await person.page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-wide.png", full_page=True)
            await person.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            found[name] = await violations(person.page)
        await open_trial(person.page)
        await person.page.screenshot(path=SCREENSHOTS / f"account-tested-{scheme}-wide.png", full_page=True)
        found["account-tested"] = await violations(person.page)
        await person.page.get_by_role("button", name="Sign out").click()
        await person.page.wait_for_url("**/sign-in")  # a page that is being left has no picture
        await person.page.screenshot(path=SCREENSHOTS / f"sign-in-{scheme}-wide.png")
        found["sign-in"] = await violations(person.page)
    assert {name: broken for name, broken in found.items() if broken} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_fits_on_a_phone(browser: Browser, floor: Floor, scheme: Any) -> None:
    too_wide, found = [], {}
    async with signed_in(browser, floor, color_scheme=scheme, viewport=NARROW) as person:
        for name, address in (await pages_of(floor)).items():
            await person.page.goto(address)
            await person.page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-narrow.png", full_page=True)
            if await is_too_wide(person.page):
                too_wide.append(name)
            found[name] = await violations(person.page)
        await open_trial(person.page)
        await person.page.screenshot(path=SCREENSHOTS / f"account-tested-{scheme}-narrow.png", full_page=True)
        if await is_too_wide(person.page):
            too_wide.append("account-tested")
        found["account-tested"] = await violations(person.page)
    assert too_wide == []
    assert {name: broken for name, broken in found.items() if broken} == {}


async def test_on_paper_a_dark_page_is_light_and_whole_and_has_nothing_to_click(browser: Browser, floor: Floor) -> None:
    async with signed_in(browser, floor, color_scheme="dark", viewport=PAPER) as person:
        page = person.page
        addresses = await pages_of(floor)
        await page.emulate_media(media="print", color_scheme="dark")
        for name in ("overview", "failures", "dispositions", "disposition-long", "audit"):
            await page.goto(addresses[name])
            await page.screenshot(path=SCREENSHOTS / f"{name}-print.png", full_page=True)
            ink, ground = await page.evaluate(
                "[document.querySelector('h1'), document.body].map((one, at) => "
                "getComputedStyle(one)[at ? 'backgroundColor' : 'color'])"
            )
            assert (ink, ground) == ("rgb(0, 0, 0)", "rgb(255, 255, 255)"), name
            assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), name
            assert await page.locator("button:visible, .button:visible").count() == 0, name
