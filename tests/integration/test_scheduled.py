"""Schedules: each run once, whoever looks; overlap, what was missed, by hand, backfilled, and all on record."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from deliveries import ask
from prometheus_client.parser import text_string_to_metric_families
from replaying import fail, step

from app.domain.errors import InvalidInput, NotFound, StateConflict
from app.services.keys import OPERATOR, Caller
from app.settings import Settings
from app.wiring import Services, open_deliverer

pytestmark = pytest.mark.usefixtures("account")

STRANGER = Caller("client:stranger", frozenset({"operate", "read"}), frozenset({"other"}))
REPLAY = {"filter": {"state": "failed", "from": "24h"}, "rate_per_second": 1000}


async def make(services: Services, **changes: Any) -> None:
    fields = {"name": "hourly", "every": "1h", "replay": REPLAY, **changes}
    await services.schedules.create(fields, changes.pop("caller", OPERATOR))


async def make_due(services: Services, ago: timedelta = timedelta(0)) -> None:
    """Has the schedule become due so long ago, with all that hangs on its beginning."""
    back = "UPDATE schedules SET created_at = now() - :ago - interval '1 hour', next_at = now() - :ago"
    await ask(services, back, ago=ago)


async def tick(settings: Settings) -> None:
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        await deliverer.schedule_runs.tick()


async def runs(services: Services, name: str = "hourly") -> list[tuple[str, str, int]]:
    """The runs, oldest first: kind, state, how many."""
    found = (await services.schedules.get(name, OPERATOR))["runs"]
    return [(run["kind"], run["state"], run["n"]) for run in reversed(found)]


async def test_three_schedulers_run_each_time_once_and_the_replay_is_the_schedules(
    services: Services, settings: Settings
) -> None:
    await fail(services, settings, 2)
    await make(services, reason="CloudAgent is shaky")
    await tick(settings)
    assert await runs(services) == []
    await make_due(services)
    await asyncio.gather(*(tick(settings) for _ in range(3)))
    await asyncio.gather(*(tick(settings) for _ in range(3)))
    assert await runs(services) == [("due", "started", 1)]
    [replay], _ = await services.replays.page(OPERATOR)
    assert (replay.actor, replay.total, replay.state) == ("schedule:hourly", 2, "running")
    told = await ask(services, "SELECT actor, action, reason FROM events WHERE subject = 'schedule:hourly' ORDER BY id")
    assert [tuple(row) for row in told] == [("cli", "schedule created", "CloudAgent is shaky")]


# As when freezing the items of one schedule takes longer than a statement may.
GIVES_UP = """
    CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE SQLSTATE '57014' USING MESSAGE = 'canceling statement due to statement timeout'; END $$;
    CREATE TRIGGER give_up BEFORE INSERT ON replays
        FOR EACH ROW WHEN (NEW.actor = 'schedule:first') EXECUTE FUNCTION give_up();
"""


async def test_a_schedule_that_the_database_gives_up_on_holds_up_no_other(
    services: Services, settings: Settings
) -> None:
    for name in ("first", "second"):
        await make(services, name=name)
    await make_due(services)
    sooner = "SET created_at = created_at - interval '1 s', next_at = next_at - interval '1 s'"
    await ask(services, f"UPDATE schedules {sooner} WHERE name = 'first'")
    await ask(services, GIVES_UP)
    await tick(settings)
    assert await runs(services, "first") == []
    assert await runs(services, "second") == [("due", "started", 1)]
    await ask(services, "DROP TRIGGER give_up ON replays")
    await tick(settings)
    assert await runs(services, "first") == [("due", "started", 1)]


async def test_while_one_is_sending_the_next_is_skipped_or_waits(services: Services, settings: Settings) -> None:
    for overlap, then in (("skip", "skipped"), ("queue", "queued")):
        await make(services, name=overlap, overlap=overlap)
        await make_due(services)
        await tick(settings)
        await make_due(services)
        await tick(settings)
        assert [state for _, state, _ in await runs(services, overlap)] == ["started", then]
        await ask(services, "UPDATE schedules SET next_at = now() + interval '1 hour'")
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        for replay in (await services.replays.page(OPERATOR))[0]:
            await step(deliverer, replay)
    await tick(settings)
    assert [state for _, state, _ in await runs(services, "queue")] == ["started", "started"]


async def test_what_is_later_than_the_window_is_missed_with_an_event_and_a_metric(
    services: Services, settings: Settings
) -> None:
    await make(services, every="10m", catch_up="20m")
    await make_due(services, timedelta(minutes=45))
    await tick(settings)
    assert await runs(services) == [("due", "missed", 3), ("due", "started", 1), ("due", "skipped", 1)]
    [told] = await ask(services, "SELECT reason FROM events WHERE action = 'schedule missed'")
    assert told.reason.startswith("3 missed")
    figures = {
        sample.labels["state"]: sample.value
        for family in text_string_to_metric_families((await services.health.metrics()).decode())
        for sample in family.samples
        if sample.name == "wrapup_schedule_runs_total"
    }
    assert (figures["missed"], figures["started"], figures["refused"]) == (3, 1, 0)


async def test_a_paused_one_rests_and_makes_up_for_nothing(services: Services, settings: Settings) -> None:
    await make(services)
    paused = await services.schedules.change("hourly", {"paused": True, "reason": "move"}, OPERATOR)
    assert (paused["paused"], paused["next_times"]) == (True, [])
    await make_due(services, timedelta(minutes=30))
    await tick(settings)
    resumed = await services.schedules.change("hourly", {"paused": False}, OPERATOR)
    await tick(settings)
    assert await runs(services) == []
    assert len(resumed["next_times"]) == 5
    assert resumed["next_times"][0] > datetime.now(UTC)
    told = await ask(services, "SELECT action FROM events WHERE subject = 'schedule:hourly' ORDER BY id")
    assert [row.action for row in told] == ["schedule created", "schedule paused", "schedule resumed"]


async def test_by_hand_it_runs_at_once_but_not_beside_itself(services: Services) -> None:
    await make(services)
    assert [run["kind"] for run in (await services.schedules.run("hourly", OPERATOR))["runs"]] == ["now"]
    with pytest.raises(StateConflict, match="still sending"):
        await services.schedules.run("hourly", OPERATOR)
    await services.schedules.change("hourly", {"overlap": "queue"}, OPERATOR)
    await services.schedules.run("hourly", OPERATOR)
    assert sorted(await runs(services)) == [("now", "queued", 1), ("now", "started", 1)]


async def test_a_backfill_runs_each_time_of_a_window_as_of_that_time(services: Services, settings: Settings) -> None:
    await make(services)
    await make_due(services, timedelta(hours=5))
    now = datetime.now(UTC)
    await ask(services, "UPDATE schedules SET next_at = now() + interval '1 hour'")
    filled = await services.schedules.backfill("hourly", now - timedelta(hours=3), now, OPERATOR, reason="outage")
    assert [run["state"] for run in filled["runs"]] == ["queued"] * 3
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        for _ in range(3):
            await deliverer.schedule_runs.tick()
            [newest, *_], _ = await services.replays.page(OPERATOR)
            await step(deliverer, newest)
    assert await runs(services) == [("backfill", "started", 1)] * 3
    oldest = (await services.replays.page(OPERATOR))[0][-1]
    first = datetime.fromisoformat(oldest.filter["from"])
    assert now - timedelta(hours=27) <= first <= now - timedelta(hours=26)
    for since, until in (
        (now, now),
        (now, now + timedelta(hours=1)),
        (now - timedelta(days=30), now),
        (now - timedelta(minutes=40), now - timedelta(minutes=20)),  # without a time of the schedule
    ):
        with pytest.raises(InvalidInput):
            await services.schedules.backfill("hourly", since, until, OPERATOR)


async def test_a_time_is_backfilled_once_and_only_what_is_added_is_told(services: Services) -> None:
    await make(services)
    await make_due(services, timedelta(hours=5))
    now = datetime.now(UTC)
    await services.schedules.backfill("hourly", now - timedelta(hours=2), now, OPERATOR)
    with pytest.raises(StateConflict, match="backfilled before"):
        await services.schedules.backfill("hourly", now - timedelta(hours=2), now, OPERATOR)
    await services.schedules.backfill("hourly", now - timedelta(hours=3), now, OPERATOR)
    assert await runs(services) == [("backfill", "queued", 1)] * 3
    told = await ask(services, "SELECT reason FROM events WHERE action = 'schedule backfilled' ORDER BY id")
    assert [row.reason.partition(",")[0] for row in told] == ["2 runs", "1 runs"]


async def test_what_is_not_taken_any_more_is_refused_and_said(services: Services, settings: Settings) -> None:
    await make(services)
    await ask(services, """UPDATE schedules SET replay = '{"filter": {"colour": "red"}}'""")
    await make_due(services)
    await tick(settings)
    assert await runs(services) == [("due", "refused", 1)]
    assert (await services.replays.page(OPERATOR))[0] == []


async def test_a_bound_key_has_its_own_schedules_only(services: Services, settings: Settings) -> None:
    await fail(services, settings, 1)
    await make(services)
    await services.schedules.create({"name": "theirs", "every": "1h", "replay": REPLAY}, STRANGER)
    assert [one["name"] for one in await services.schedules.all(STRANGER)] == ["theirs"]
    assert [one["name"] for one in await services.schedules.all(OPERATOR)] == ["hourly", "theirs"]
    for act in (services.schedules.get, services.schedules.run, services.schedules.remove):
        with pytest.raises(NotFound):
            await act("hourly", STRANGER)
    await services.schedules.run("theirs", STRANGER)
    [replay], _ = await services.replays.page(STRANGER)
    assert replay.total == 0


async def test_a_name_is_taken_once_and_free_again_when_it_is_deleted(services: Services) -> None:
    await make(services)
    with pytest.raises(InvalidInput, match="is taken"):
        await make(services)
    await services.schedules.remove("hourly", OPERATOR, reason="not needed")
    await make(services)
