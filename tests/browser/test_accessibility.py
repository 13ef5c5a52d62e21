"""axe finds nothing on any page, light or dark; and each fits on a phone. The pictures are for a person to look at."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from floor import SCREENSHOTS, Floor, pages_of, signed_in
from playwright.async_api import Browser, Page

WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


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
        await person.page.screenshot(path=SCREENSHOTS / f"sign-in-{scheme}-wide.png")
        found["sign-in"] = await violations(person.page)
    assert {name: broken for name, broken in found.items() if broken} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_fits_on_a_phone(browser: Browser, floor: Floor, scheme: Any) -> None:
    too_wide = []
    async with signed_in(browser, floor, color_scheme=scheme, viewport=NARROW) as person:
        for name, address in (await pages_of(floor)).items():
            await person.page.goto(address)
            await person.page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-narrow.png", full_page=True)
            if await is_too_wide(person.page):
                too_wide.append(name)
        await open_trial(person.page)
        await person.page.screenshot(path=SCREENSHOTS / f"account-tested-{scheme}-narrow.png", full_page=True)
        if await is_too_wide(person.page):
            too_wide.append("account-tested")
    assert too_wide == []
