"""``wrapup list`` and ``wrapup show``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4


async def test_the_newest_come_first_as_many_as_wanted(wrapup, submit):
    ids = [await submit(ucid=f"100000000000000{number}") for number in range(3)]
    listed = await wrapup("list", "--json", "--limit", "2")
    assert [one["id"] for one in listed.lines] == [ids[2], ids[1]]
    table = await wrapup("list", "--limit", "2")
    assert table.status == 0
    assert [line.split()[0] for line in table.out.splitlines()] == ["id", ids[2], ids[1]]
    assert table.err == "There are more than these 2: give a higher --limit, or filter.\n"


async def test_filters_of_one_kind_are_alternatives_and_of_several_all_apply(wrapup, submit):
    sale = await submit(ucid="1", disposition="Sale", reference="deal-1")
    busy = await submit(ucid="2", disposition="Busy", agent_id="a18")
    other = await submit(ucid="3", disposition="Other", did="911")
    now = datetime.now(UTC)
    for options, expected in [
        (("--disposition", "Sale", "--disposition", "Busy"), [busy, sale]),
        (("--reference", "deal-1", "--ucid", "1", "--state", "queued", "--account", "acme"), [sale]),
        (("--disposition", "Busy", "--agent-id", "a18", "--cause", "expired"), []),
        (("--from", (now + timedelta(minutes=1)).isoformat()), []),
        (("--to", (now + timedelta(minutes=1)).isoformat(), "--did", "911"), [other]),
    ]:
        listed = await wrapup("list", "--json", *options)
        assert (listed.status, [one["id"] for one in listed.lines]) == (0, expected), options


async def test_a_time_without_an_offset_is_refused(wrapup):
    ran = await wrapup("list", "--from", "2026-11-25T10:30:00")
    assert ran.status == 2
    assert "--from" in ran.err
    assert "add Z" in ran.err


async def test_one_is_shown_with_every_attempt_as_the_api_shows_it(wrapup, submit, until, worker):
    failing = await submit(agent_id="unknown")
    await until(failing, "failed")
    whole = (await wrapup("show", failing, "--json")).json
    assert (whole["state"], whole["cause"], whole["attempt_count"]) == ("failed", "invalid_agent", 1)
    (attempt,) = whole["attempts"]
    assert (attempt["number"], attempt["http_status"], attempt["reply_status"]) == (1, 200, "Fail")
    assert attempt["started_at"].endswith("Z")
    assert [event["action"] for event in whole["events"]] == ["accepted", "failed"]
    shown = (await wrapup("show", failing)).out
    for said in (
        *(failing, "failed", "invalid_agent", "attempt 1", "HTTP 200", "answered", f"{attempt['latency_ms']} ms"),
        *(f"Fail: {attempt['reply_details']}", f"X-Request-Id {attempt['id']}", "accepted"),
    ):
        assert said in shown


async def test_the_next_attempt_of_one_that_waits_is_shown(wrapup, submit, until, sandbox, worker):
    sandbox.script("1234567890123456", ["503:30"])
    waiting = await submit()
    found = await until(waiting, "retrying")
    shown = (await wrapup("show", waiting)).out
    assert "HTTP 503" in shown
    assert f"next_attempt_at  {found['next_attempt_at']:%Y-%m-%d %H:%M:%S}" in shown


async def test_texts_are_shown_as_they_are_whatever_they_look_like(wrapup, submit):
    marked = await submit(comments="[bold]50%[/bold] :smile:\nnext\tline", disposition="[link=http://x]Sale")
    shown = (await wrapup("show", marked)).out
    assert r"[bold]50%[/bold] :smile:\nnext\tline" in shown
    assert "[link=http://x]Sale" in (await wrapup("list")).out


async def test_an_unknown_id_fails_and_what_is_none_is_a_wrong_call(wrapup):
    unknown = await wrapup("show", str(uuid4()))
    assert (unknown.status, unknown.out) == (1, "")
    assert unknown.err.startswith("wrapup: There is no disposition ")
    assert (await wrapup("show", "deal-7")).status == 2
