"""The page of a replay: what is in it, why it is done, and whether it helped."""

from __future__ import annotations

from deliveries import ucid
from visitors import Pages, Visitor, fail, text_of

from app.services.keys import OPERATOR
from app.services.replays import read_request
from app.services.users import Role


async def drafted(pages: Pages, visitor: Visitor) -> str:
    """The address of a replay of all that failed, to be confirmed."""
    answer = await visitor.send("/replays", filter="state=failed", action="retry")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def test_each_item_is_told_by_its_call_its_agent_and_its_code(pages: Pages) -> None:
    await fail(pages, ucid(1), agent_id="x7", disposition="Call back")
    visitor = await pages.user(Role.OPERATOR)
    assert f"1 {ucid(1)} x7 Call back To be done" in text_of(await visitor.get(await drafted(pages, visitor)))


async def test_who_touches_more_than_one_says_why(pages: Pages) -> None:
    await fail(pages, ucid(1))
    visitor = await pages.user(Role.OPERATOR)
    alone = await drafted(pages, visitor)
    assert "Why (may be left empty)" in text_of(await visitor.get(alone))
    assert (await visitor.send(f"{alone}/start")).status_code == 303
    for number in (2, 3):
        await fail(pages, ucid(number))
    all_three = await drafted(pages, visitor)  # the first one too: nobody delivers here
    refused = await visitor.send(f"{all_three}/start")
    assert refused.status_code == 422
    assert "Say why: 3 dispositions are touched at once." in text_of(refused)
    assert (await visitor.send(f"{all_three}/start", reason="CloudAgent was down")).status_code == 303
    assert "CloudAgent was down" in text_of(await visitor.get(all_three))


async def test_one_that_did_not_help_does_not_look_as_if_it_had(pages: Pages) -> None:
    await fail(pages, ucid(1))
    asked = read_request({"filter": {"state": "failed"}}, OPERATOR)
    replay = (await pages.services.replays.create(asked, OPERATOR)).replay
    pages.sql("UPDATE replays SET state = 'done', waiting = 0, failed = 1, ended_at = now() WHERE id = %s", replay.id)
    visitor = await pages.user(Role.VIEWER)
    for path in ("/replays", f"/replays/{replay.id}"):
        answer = await visitor.get(path)
        assert "done, but 1 failed again" in text_of(answer), path
        assert '<span class="state failed">' in answer.text, path
