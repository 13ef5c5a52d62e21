"""The page of the list, where much has to be looked through for little."""

from __future__ import annotations

import asyncio
import html
import re

import pytest
from visitors import Pages, text_of

from app.services.users import Role
from tests.benchmarks.crowd import fill


async def test_what_is_seldom_among_much_is_looked_for_a_stretch_at_a_time_and_the_page_says_so(pages: Pages) -> None:
    await asyncio.to_thread(fill, pages.settings.require_database_url(), 100_000)
    visitor = await pages.user(Role.OPERATOR)
    # 2,500 have this DID, 2,000 are superseded, and none is both.
    answer = await visitor.get("/dispositions?did=918010000001&state=superseded")
    assert "Nothing found yet. Looked as far as" in text_of(answer)
    onward = re.search(r'rel="next" href="([^"]+)">Look further back', answer.text)
    assert onward is not None
    answer = await visitor.get(html.unescape(onward[1]))
    assert "Nothing matches." in text_of(answer)
    assert "Look further back" not in answer.text


@pytest.mark.parametrize("name", ["from", "to"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59"])
async def test_a_time_that_no_calendar_has_is_refused_with_what_is_wrong(pages: Pages, name: str, moment: str) -> None:
    answer = await (await pages.user(Role.VIEWER)).get(f"/dispositions?{name}={moment}")
    assert answer.status_code == 422
    assert "is not in the years 2000 to 2100" in text_of(answer)
