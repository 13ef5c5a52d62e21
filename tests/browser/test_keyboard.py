"""All by keys."""

from __future__ import annotations

import re

from floor import Floor, signed_in
from playwright.async_api import Browser, expect


async def test_a_list_is_gone_through_and_opened_by_keys(browser: Browser, floor: Floor) -> None:
    await floor.post(3)
    async with signed_in(browser, floor) as person:
        page = person.page
        await page.keyboard.press("g")
        await page.keyboard.press("d")
        await page.wait_for_url("**/dispositions")
        rows = page.locator("table.list tbody tr")
        await page.keyboard.press("j")
        await expect(rows.nth(0).locator("a").first).to_be_focused()
        await page.keyboard.press("j")
        await expect(rows.nth(1).locator("a").first).to_be_focused()
        await page.keyboard.press("k")
        await expect(rows.nth(0).locator("a").first).to_be_focused()
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile(r"/dispositions/[0-9a-f-]{36}$"))


async def test_the_search_is_a_key_away_and_typing_in_it_is_only_typing(browser: Browser, floor: Floor) -> None:
    async with signed_in(browser, floor) as person:
        page = person.page
        await page.keyboard.press("/")
        await expect(page.locator("#find")).to_be_focused()
        await page.keyboard.type("gd?jk/")
        await expect(page.locator("#find")).to_have_value("gd?jk/")
        await expect(page.locator("#keys")).not_to_be_visible()


async def test_the_list_of_keys_opens_and_closes_by_keys(browser: Browser, floor: Floor) -> None:
    async with signed_in(browser, floor) as person:
        await person.page.keyboard.press("?")
        await expect(person.page.locator("#keys")).to_be_visible()
        await person.page.keyboard.press("Escape")
        await expect(person.page.locator("#keys")).not_to_be_visible()


async def test_the_first_tab_leads_past_the_bar(browser: Browser, floor: Floor) -> None:
    async with signed_in(browser, floor) as person:
        await person.page.keyboard.press("Tab")
        await expect(person.page.locator(".skip")).to_be_focused()
        await person.page.keyboard.press("Enter")
        await expect(person.page.locator("#main")).to_be_focused()
