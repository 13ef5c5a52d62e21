"""The list and the page of one: every condition is seen, and what failed says whose it is and what to do."""

from __future__ import annotations

import html
import re
from uuid import UUID

from deliveries import ucid
from visitors import Pages, fail, text_of

from app.services.keys import OPERATOR
from app.services.users import Role
from app.storage.failures import Wanted


async def test_what_failed_says_what_to_do_whose_it_is_and_how_many_are_like_it(pages: Pages) -> None:
    one = await fail(pages, ucid(1), agent_id="x7")
    await fail(pages, ucid(2), agent_id="x7")
    answer = await (await pages.user(Role.OPERATOR)).get(f"/dispositions/{one}")
    said = text_of(answer)
    assert "Agent 'x7' does not exist in CloudAgent's account 'acme'" in said
    assert "This is for whoever looks after the CRM's data." in said
    [failure] = (await pages.services.failures.all(Wanted(), limit=2)).failures
    assert f'<a href="/failures/{failure["id"]}">All 2 that failed in this way</a>' in answer.text


async def test_the_first_button_is_what_helps(pages: Pages) -> None:
    visitor = await pages.user(Role.OPERATOR)
    wrong = await visitor.get("/dispositions/" + await fail(pages, ucid(1), agent_id="x7"))
    assert main_action(wrong.text) == "Correct and resend…"
    late = await visitor.get("/dispositions/" + await fail(pages, ucid(2), cause="attempts_exhausted"))
    assert main_action(late.text) == "Send again as it is"


def main_action(page: str) -> str:
    [found] = re.findall(r'class="(?:button )?main"[^>]*>([^<]*)<', page)
    return str(found)


async def test_what_was_corrected_leads_to_the_corrected_one_and_back(pages: Pages) -> None:
    old = await fail(pages, ucid(1), agent_id="x7")
    visitor = await pages.user(Role.OPERATOR)
    made = await visitor.send(f"/dispositions/{old}/resend", agent_id="a17")
    new = made.headers["location"].partition("?")[0]
    page = await visitor.get(f"/dispositions/{old}")
    assert f'It was corrected: <a href="{new}">' in page.text
    assert "does not exist" not in text_of(page)
    assert f'href="/dispositions/{old}">an earlier one</a>' in (await visitor.get(new)).text


async def test_conditions_without_a_field_are_seen_kept_and_taken_away_by_a_click(pages: Pages) -> None:
    one = await fail(pages, ucid(1), agent_id="x7")
    await fail(pages, ucid(2), cause="expired")
    failure = (await pages.services.failures.of_disposition(UUID(one), OPERATOR) or {})["id"]
    visitor = await pages.user(Role.VIEWER)
    page = (await visitor.get(f"/dispositions?cause=expired&cause=invalid_agent&failure={failure}")).text
    said = re.sub(r"<[^>]*>", "", page)
    assert re.search(r"Why it failed, or: Agent not known\s*✕", said)
    assert re.search(r"Of the failure: this one\s*✕", said)
    assert f'<input type="hidden" name="failure" value="{failure}">' in page
    assert '<input type="hidden" name="cause" value="invalid_agent">' in page
    assert '<option value="expired" selected>' in page
    [without, _] = [html.unescape(found) for found in re.findall(r'class="away" href="([^"]*)"', page)]
    assert without == f"/dispositions?cause=expired&failure={failure}"


async def test_a_moment_that_no_choice_stands_for_stays_chosen(pages: Pages) -> None:
    visitor = await pages.user(Role.VIEWER)
    page = (await visitor.get("/dispositions?from=2026-11-01T00%3A00%3A00%2B05%3A30")).text
    assert '<option value="2026-11-01T00:00:00+05:30" selected>2026-11-01 00:00</option>' in page


async def test_how_many_there_are_is_told_where_it_is_known(pages: Pages) -> None:
    for number in range(52):
        await fail(pages, ucid(number), agent_id="x7" if number else "x8")
    visitor = await pages.user(Role.VIEWER)
    assert "52 in all." in text_of(await visitor.get("/dispositions"))
    assert "1 in all." in text_of(await visitor.get("/dispositions?agent_id=x8"))
    assert "50 on this page. How many there are in all" in text_of(await visitor.get("/dispositions?agent_id=x7"))


async def test_a_list_that_was_refused_does_not_say_that_nothing_matches(pages: Pages) -> None:
    said = text_of(await (await pages.user(Role.VIEWER)).get("/dispositions?state=faild"))
    assert "did you mean failed" in said
    assert "Nothing matches" not in said
