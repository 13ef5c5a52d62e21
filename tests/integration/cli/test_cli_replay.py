"""``wrapup replay`` for people and for cron, ``replays``, ``resend`` and ``schedules``."""

from __future__ import annotations

import asyncio

import pytest

from app.wiring import open_deliverer

FAILED = ("--state", "failed", "--since", "24h")


@pytest.fixture
async def scheduler(settings):
    """Does the steps of replays as long as the test runs."""
    async with open_deliverer(settings, kind="scheduler") as deliverer:

        async def go_on():
            while True:
                await deliverer.replay_steps.step()
                await asyncio.sleep(0.02)

        going = asyncio.create_task(go_on())
        yield
        going.cancel()


@pytest.fixture
def fail(submit, until, worker):
    """Dispositions that CloudAgent refused."""

    async def fail(n: int = 2, **fields: object) -> list[str]:
        ids = [await submit(**{"ucid": str(1000 + number), "agent_id": "unknown1", **fields}) for number in range(n)]
        for one in ids:
            await until(one, "failed")
        return ids

    return fail


async def test_for_cron_it_waits_and_says_in_one_line_that_all_arrived(wrapup, fail, sandbox, scheduler):
    await fail()
    sandbox.account("acme", agents=["unknown1"])
    ran = await wrapup("replay", *FAILED, "--cause", "invalid_agent", "--rate", "50", "--wait")
    assert ran.status == 0, ran.err
    (line,) = ran.out.splitlines()
    assert "done: 2 of 2 arrived, 0 failed again" in line
    assert ran.err == ""


async def test_when_some_fail_again_the_exit_status_is_1_also_as_json(wrapup, fail, scheduler):
    await fail()
    ran = await wrapup("replay", *FAILED, "--rate", "50", "--wait", "--json")
    assert (ran.status, ran.json["state"], ran.json["failed"], ran.json["delivered"]) == (1, "done", 2, 0)
    (listed,) = (await wrapup("replays", "list", "--json")).lines
    shown = (await wrapup("replays", "show", listed["id"], "--json")).json
    assert [item["result"] for item in shown["items"]] == ["failed", "failed"]
    assert "invalid_agent" in (await wrapup("replays", "show", listed["id"], "--result", "failed")).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "the filter is empty and would take everything"),
        (("--cause", "no_repyl"), "did you mean no_reply"),
        (("--since", "yesterday"), "--from"),
        (("--since", "1h", "--to", "2h"), "is not after --from"),
        (("--state", "lost"), "'--state': 'lost' is not one of 'queued'"),
        ((*FAILED, "--rate", "0"), "--rate is 0"),
        ((*FAILED, "--map", "x7=a17"), "is not like 'agent_id:x7=a17'"),
        ((*FAILED, "--map", "ucid:1=2", "--action", "resend"), "--map.ucid can't be mapped"),
        ((*FAILED, "--action", "resend"), "--map is missing"),
        ((*FAILED, "--key", "a b"), "visible ASCII"),
    ],
    ids=str,
)
async def test_called_wrongly_it_says_so_and_starts_nothing(wrapup, account, words, said):
    ran = await wrapup("replay", *words)
    assert ran.status == 2, ran.err
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1
    assert (await wrapup("replays", "list", "--json")).out == ""


async def test_a_dry_run_counts_and_a_wrong_value_is_mapped_for_all(wrapup, fail, scheduler):
    [first, _] = await fail()
    limited = await wrapup("replay", *FAILED, "--max-items", "1", "--dry-run", "--json")
    assert (limited.json["eligible"], limited.json["left_out"]) == (1, {"over_limit": 1})
    words = ("replay", *FAILED, "--action", "resend", "--map", "agent_id:unknown1=a17")
    assert (await wrapup(*words, "--dry-run")).out.splitlines()[0] == "2 would be done; nothing was."
    assert (await wrapup(*words)).status == 2  # says why, or is not done
    ran = await wrapup(*words, "--reason", "user map", "--rate", "50", "--watch", "--json")
    assert (ran.status, ran.json["delivered"]) == (0, 2)
    old = (await wrapup("show", first, "--json")).json
    new = (await wrapup("show", old["resent_as"], "--json")).json
    assert (old["state"], new["state"], new["agent_id"]) == ("failed", "delivered", "a17")
    again = (await wrapup("replay", *FAILED, "--dry-run", "--json")).json
    assert (again["eligible"], again["left_out"]) == (0, {"newer": 2})


async def test_in_the_background_it_says_how_to_look_and_can_be_cancelled(wrapup, fail):
    await fail()
    ran = await wrapup("replay", *FAILED, "--rate", "0.1")
    assert ran.status == 0
    (started,) = (await wrapup("replays", "list", "--json")).lines
    assert f"wrapup replays show {started['id']} --watch" in ran.err
    cancelled = await wrapup("replays", "cancel", started["id"], "--reason", "enough", "--json")
    assert (cancelled.json["state"], cancelled.json["waiting"]) == ("cancelled", 2)
    assert (await wrapup("replays", "cancel", started["id"])).status == 1


async def test_one_is_corrected_and_sent(wrapup, fail, until):
    [old] = await fail(1)
    new = (await wrapup("resend", old, "--set", "agent_id=a17", "--reason", "typo", "--json")).json
    assert (new["resent_from"], new["agent_id"]) == (old, "a17")
    await until(new["id"], "delivered")
    assert (await wrapup("resend", old, "--set", "agent_id=a18")).status == 1
    wrong = await wrapup("resend", new["id"], "--set", "agent_id")
    assert (wrong.status, "is not like 'agent_id=a17'" in wrong.err) == (2, True)


async def test_schedules_are_made_listed_paused_run_and_deleted(wrapup, account):
    ready = (await wrapup("schedules", "ready-made", "--json")).json
    assert [one["name"] for one in ready] == ["cloudagent-nightly", "after-key-change", "unreadable-hourly"]
    for one in ready:
        made = await wrapup("schedules", "create", one["name"], "--ready-made", one["name"], "--json")
        assert (made.status, len(made.json["next_times"])) == (0, 5), made.err
    words = ("--every", "6h", "--replay", '{"filter": {"state": "failed", "from": "1d"}}', "--overlap", "queue")
    assert (await wrapup("schedules", "create", "mine", *words)).status == 0
    listed = (await wrapup("schedules", "list", "--json")).json
    assert [one["name"] for one in listed] == ["after-key-change", "cloudagent-nightly", "mine", "unreadable-hourly"]
    assert (await wrapup("schedules", "pause", "mine", "--json")).json["paused"] is True
    assert "paused" in (await wrapup("schedules", "list")).out
    assert [run["kind"] for run in (await wrapup("schedules", "run", "mine", "--json")).json["runs"]] == ["now"]
    assert (await wrapup("schedules", "resume", "mine")).status == 0
    filled = await wrapup("schedules", "backfill", "cloudagent-nightly", "--from", "48h", "--json")
    assert [run["state"] for run in filled.json["runs"]] == ["queued", "queued"]
    assert "started" in (await wrapup("schedules", "show", "mine")).out
    assert (await wrapup("schedules", "delete", "mine", "--reason", "not needed")).status == 0
    assert (await wrapup("schedules", "show", "mine")).status == 1
    wrong = await wrapup("schedules", "create", "bad", "--cron", "99 * * * *", "--time-zone", "Mars")
    assert wrong.status == 2
    assert all(said in wrong.err for said in ("cron '99 * * * *'", "time_zone", "replay is missing"))


async def test_a_schedule_is_changed_in_what_is_given(wrapup, account):
    words = ("--cron", "30 2 * * *", "--time-zone", "Asia/Kolkata", "--replay", '{"filter": {"state": "failed"}}')
    made = (await wrapup("schedules", "create", "mine", *words, "--json")).json
    later = await wrapup("schedules", "change", "mine", "--cron", "30 3 * * *", "--reason", "too early", "--json")
    assert (later.status, later.json["cron"], later.json["time_zone"]) == (0, "30 3 * * *", "Asia/Kolkata"), later.err
    assert later.json["replay"] == made["replay"]
    slower = '{"filter": {"state": "failed"}, "rate_per_second": 1}'
    ran = await wrapup(
        "schedules", "change", "mine", "--every", "6h", "--replay", slower, "--overlap", "queue", "--json"
    )
    assert (ran.json["cron"], ran.json["every"], ran.json["overlap"]) == (None, "6h", "queue")
    assert ran.json["replay"]["rate_per_second"] == 1
    nothing = await wrapup("schedules", "change", "mine", "--reason", "none")
    assert (nothing.status, "nothing is to be changed" in nothing.err) == (2, True)
    wrong = await wrapup("schedules", "change", "mine", "--catch-up", "1s", "--replay", '{"filter": {}}')
    assert wrong.status == 2
    assert all(said in wrong.err for said in ("catch_up is '1s'", "replay.filter is empty"))
    assert (await wrapup("schedules", "change", "no-such", "--every", "1h")).status == 1
    assert (await wrapup("schedules", "show", "mine", "--json")).json["catch_up"] == "1h"


async def test_a_draft_is_counted_and_begins_when_it_is_told_to(wrapup, fail, until, sandbox, scheduler):
    ids = await fail()
    drafted = await wrapup("replay", *FAILED, "--draft", "--json")
    assert (drafted.status, drafted.json["state"], drafted.json["total"]) == (0, "draft", 2)
    told = await wrapup("replay", *FAILED, "--draft", "--wait")
    assert "Nothing is sent until you start it: wrapup replays start " in told.err
    await fail(1, ucid="3000")  # too late for it
    sandbox.account("acme", agents=["unknown1"])
    started = await wrapup("replays", "start", drafted.json["id"], "--reason", "the agents are there now", "--json")
    assert (started.status, started.json["state"], started.json["total"]) == (0, "running", 2)
    for one in ids:
        await until(one, "delivered")
    again = await wrapup("replays", "start", drafted.json["id"])
    assert again.status == 1
    assert "is" in again.err


async def test_a_group_of_failures_is_found_noted_and_corrected_as_on_its_page(wrapup, fail, until, sandbox, scheduler):
    ids = await fail()
    (other,) = await fail(1, ucid="2000", agent_id="unknown2")
    conditions = ("--account", "acme", "--cause", "invalid_agent", "--open")
    listed = (await wrapup("failures", "list", *conditions, "--json")).json
    assert (listed["total"], listed["holds"]) == (2, [])
    largest, smallest = listed["items"]
    assert (largest["value"], largest["count"], smallest["value"]) == ("unknown1", 2, "unknown2")
    assert "Agent 'unknown1' does not exist" in (await wrapup("failures", "list")).out
    assert "There are 2 in all" in (await wrapup("failures", "list", "--limit", "1")).err

    known = await wrapup("failures", "acknowledge", largest["id"], "--note", "told the CRM's people", "--json")
    assert (known.json["acknowledged"], known.json["acknowledged_by"]) == (True, "cli")
    assert "told the CRM's people" in (await wrapup("failures", "show", largest["id"])).out
    assert (await wrapup("failures", "list", "--acknowledged", "--json")).json["total"] == 1
    opened = await wrapup("failures", "reopen", largest["id"], "--reason", "they say no", "--json")
    assert opened.json["acknowledged"] is False

    of_group = ("--failure", largest["id"])
    assert {one["id"] for one in (await wrapup("list", *of_group, "--json")).lines} == {*ids}
    assert [one["id"] for one in (await wrapup("list", "--q", "unknown2", "--json")).lines] == [other]
    assert (await wrapup("list", "--source", "nobody", "--json")).lines == []
    sandbox.account("acme", agents=["a17"])
    mapped = ("--action", "resend", "--map", "agent_id:unknown1=a17", "--reason", "wrong map")
    corrected = await wrapup("replay", *of_group, *mapped, "--rate", "50", "--wait")
    assert "done: 2 of 2 arrived" in corrected.out
    gone = await wrapup("failures", "show", largest["id"])
    assert gone.status == 1
    assert "There is no failure" in gone.err
    wrong = await wrapup("list", "--failure", "x7")
    assert wrong.status == 2
    assert "--failure is 'x7'; it must be the id of a failure" in wrong.err
