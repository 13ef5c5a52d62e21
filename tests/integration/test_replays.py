"""Replays: what is taken, what is frozen, what is done, when it stops; and nothing twice, whoever dies."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from deliveries import CUSTOMER, ask, deliver, post, pumping, show, stored, ucid, until
from replaying import FAILED, counted, events_of, fail, make, results, run, step

from app.domain.errors import InvalidInput, KeyReused, NotFound, StateConflict
from app.sandbox import Sandbox
from app.services.keys import OPERATOR, Caller
from app.services.replays import read_request
from app.settings import Settings
from app.wiring import Services, open_deliverer

pytestmark = pytest.mark.usefixtures("account")

STRANGER = Caller("client:stranger", frozenset({"operate", "read"}), frozenset({"other"}))


async def test_all_that_failed_is_sent_again_and_arrives(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    failed = await fail(services, settings, 5)
    delivered = await post(services, ucid(90))
    await deliver(services, settings, [delivered])
    sandbox.account(agents=["unknown1"])
    replay = await make(services, reason="agent added")
    assert (replay.state, replay.total) == ("running", 5)
    done = await run(services, settings, replay)
    assert (done.state, counted(done)) == ("done", {"delivered": 5})
    assert await results(services, replay) == dict.fromkeys(failed, ("delivered", None))
    one = await show(services, failed[0])
    assert (one["replay_id"], one["attempt_count"]) == (replay.id, 2)
    retried = one["events"][-2]
    assert (retried["actor"], retried["action"]) == ("cli", "retried")
    assert retried["reason"] == f"replay {replay.id}: agent added"
    assert await events_of(services, replay) == [
        ("cli", "replay started"),
        ("worker", "replay done"),
        ("worker", "replay settled"),
    ]


async def test_a_plan_tells_why_not_and_writes_nothing(services: Services, settings: Settings) -> None:
    failed = await fail(services, settings, 4)
    newer = await post(services, ucid(0))
    await services.actions.cancel(await post(services, ucid(1)), OPERATOR)
    await ask(services, "UPDATE dispositions SET expires_at = now() WHERE id = :id", id=failed[2])
    request = read_request({"filter": {"from": "1h"}}, OPERATOR)
    plan = await services.replays.plan(request.order)
    assert plan.eligible == 2
    assert plan.left_out == {"newer": 1, "too_old": 1, "queued": 1, "cancelled": 1}
    assert set(plan.samples["eligible"]) == {failed[1], failed[3]}
    assert (plan.samples["newer"], plan.samples["queued"]) == ([failed[0]], [newer])
    everything = {"filter": {"from": "1h"}, "extend_max_age": True, "max_items": 1}
    extended = await services.replays.plan(read_request(everything, OPERATOR).order)
    assert (extended.eligible, extended.left_out["over_limit"]) == (1, 2)
    await services.accounts.hold(CUSTOMER, actor="test")
    assert (await services.replays.plan(request.order)).left_out["held"] == 3
    assert await ask(services, "SELECT FROM replays") == []


async def test_what_was_counted_is_done_and_nothing_that_comes_later(services: Services, settings: Settings) -> None:
    first = await fail(services, settings, 2)
    draft = await make(services, start=False)
    await fail(services, settings, 2, start=10)
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        assert await step(deliverer, draft) == 0
        started = await services.replays.start(draft.id, OPERATOR)
        assert (started.total, started.state) == (2, "running")
        await step(deliverer, draft, steps=3)
    assert set(await results(services, draft)) == set(first)
    assert sorted((await stored(services)).values()) == ["failed", "failed", "queued", "queued"]
    with pytest.raises(StateConflict, match="Only a draft"):
        await services.replays.start(draft.id, OPERATOR)


async def test_an_item_that_changed_meanwhile_is_skipped_with_the_reason(
    services: Services, settings: Settings
) -> None:
    retried, overtaken, held = await fail(services, settings, 3)
    replay = await make(services)
    await services.actions.retry(retried, OPERATOR)
    newer = await post(services, ucid(1))
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        await step(deliverer, replay)
        assert await results(services, replay) == {
            retried: ("skipped", "queued"),
            overtaken: ("skipped", "newer"),
            held: ("sent", None),
        }
    assert (await stored(services))[newer] == "queued"


async def test_an_account_on_hold_is_passed_by(services: Services, settings: Settings) -> None:
    [failed] = await fail(services, settings)
    replay = await make(services)
    await services.accounts.hold(CUSTOMER, actor="test")
    done = await run(services, settings, replay)
    assert await results(services, replay) == {failed: ("skipped", "held")}
    assert (done.state, done.waiting) == ("done", 0)


async def test_any_number_of_schedulers_do_each_item_once(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    failed = await fail(services, settings, 30)
    sandbox.account(agents=["unknown1"])
    replay = await make(services, rate_per_second=4)
    async with (
        open_deliverer(settings, kind="scheduler") as first,
        open_deliverer(settings, kind="scheduler") as second,
        open_deliverer(settings, kind="scheduler") as third,
    ):
        for _ in range(12):
            await asyncio.gather(*(step(one, replay) for one in (first, second, third)))
    assert set((await stored(services)).values()) == {"queued"}
    times = await ask(services, "SELECT count(*) AS n FROM events WHERE action = 'retried' GROUP BY disposition_id")
    assert [row.n for row in times] == [1] * len(failed)


async def test_who_dies_in_the_middle_of_a_chunk_has_done_nothing(services: Services, settings: Settings) -> None:
    await fail(services, settings, 3)
    replay = await make(services)
    async with open_deliverer(settings, kind="scheduler") as deliverer, deliverer.engine.connect() as blocking:
        # The last thing that a chunk writes is the replay's row; before it, everything else.
        await blocking.exec_driver_sql("LOCK TABLE replay_items IN SHARE MODE")
        chunk = asyncio.create_task(step(deliverer, replay))

        async def waits() -> object:
            return await ask(
                services, "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%replay_items%'"
            )

        await until(waits)
        [chunk_of] = await ask(
            services, "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%replay_items%'"
        )
        await ask(services, "SELECT pg_terminate_backend(:pid)", pid=chunk_of.pid)
        with pytest.raises(Exception, match="terminat"):
            await chunk
        await blocking.rollback()
        assert set((await stored(services)).values()) == {"failed"}
        await step(deliverer, replay)
    assert set((await stored(services)).values()) == {"queued"}


async def test_it_stops_by_itself_when_too_many_fail_again(services: Services, settings: Settings) -> None:
    await fail(services, settings, 12)
    replay = await make(services, stop_after=4, rate_per_second=2)
    done = await run(services, settings, replay)
    assert done.state == "stopped"
    assert 4 <= done.failed < 12
    assert done.waiting == 12 - done.failed
    assert ("worker", "replay stopped") in await events_of(services, replay)


async def test_a_cancelled_one_goes_no_further(services: Services, settings: Settings) -> None:
    await fail(services, settings, 4)
    replay = await make(services, rate_per_second=1)
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        await step(deliverer, replay)
        cancelled = await services.replays.cancel(replay.id, OPERATOR, reason="enough")
        assert cancelled.state == "cancelled"
        await step(deliverer, replay, steps=3)
    assert sorted((await stored(services)).values()) == ["failed"] * 3 + ["queued"]
    with pytest.raises(StateConflict, match="is cancelled"):
        await services.replays.cancel(replay.id, OPERATOR)


async def test_live_traffic_goes_first(services: Services, settings: Settings) -> None:
    await fail(services, settings, 6)
    await ask(services, "UPDATE accounts SET rate_per_second = 2")
    await post(services, ucid(50))
    replay = await make(services)
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        await step(deliverer, replay)
        assert list(counted(await services.replays.get(replay.id, OPERATOR)).values()) == [
            5,
            1,
        ]  # room for two a second
        await step(deliverer, replay)
        assert list(counted(await services.replays.get(replay.id, OPERATOR)).values()) == [5, 1]


async def test_the_pace_is_kept(services: Services, settings: Settings) -> None:
    await fail(services, settings, 6)
    await make(services, rate_per_second=2)
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        while await deliverer.replay_steps.step():
            pass
        assert sorted((await stored(services)).values()).count("queued") == 2
    [row] = await ask(services, "SELECT next_at - clock_timestamp() AS pause FROM replays")
    assert timedelta(seconds=-0.5) < row.pause < timedelta(seconds=1)


async def test_without_extension_what_is_sent_keeps_its_time(services: Services, settings: Settings) -> None:
    kept, renewed = await fail(services, settings, 2)
    before = {row.id: row.expires_at for row in await ask(services, "SELECT id, expires_at FROM dispositions")}
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        await step(deliverer, await make(services, filter={"id": str(kept)}))
        await step(deliverer, await make(services, filter={"id": str(renewed)}, extend_max_age=True))
    after = {row.id: row.expires_at for row in await ask(services, "SELECT id, expires_at FROM dispositions")}
    assert after[kept] == before[kept]
    assert after[renewed] > before[renewed]


async def test_waiting_ones_are_taken_back_together_with_a_reason(services: Services, settings: Settings) -> None:
    waiting = [await post(services, ucid(number)) for number in range(3)]
    with pytest.raises(InvalidInput, match="say why 3"):
        await make(services, action="cancel", filter={"state": "queued"})
    replay = await make(services, action="cancel", filter={"state": "queued"}, reason="wrong list")
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        await step(deliverer, replay, steps=2)
    assert await results(services, replay) == dict.fromkeys(waiting, ("cancelled", None))
    assert (await show(services, waiting[0]))["events"][-1]["reason"] == f"replay {replay.id}: wrong list"


async def test_a_wrong_value_is_mapped_to_the_right_one_and_the_old_ones_stay(
    services: Services, settings: Settings
) -> None:
    wrong = await fail(services, settings, 3)
    [other] = await fail(services, settings, 1, start=10, agent_id="unknown2")
    asked = {"action": "resend", "map": {"agent_id": {"unknown1": "a17"}}}
    plan = await services.replays.plan(read_request({"filter": FAILED, **asked}, OPERATOR).order)
    assert (plan.eligible, plan.left_out, plan.samples["unchanged"]) == (3, {"unchanged": 1}, [other])
    replay = await make(services, **asked, reason="CRM's user map")
    done = await run(services, settings, replay)
    assert counted(done) == {"delivered": 3}
    old = await show(services, wrong[0])
    assert (old["state"], old["agent_id"]) == ("failed", "unknown1")
    assert old["events"][-1]["action"] == "resent"
    new = await show(services, old["resent_as"])
    assert (new["state"], new["agent_id"], new["resent_from"]) == ("delivered", "a17", wrong[0])
    assert new["replay_id"] == replay.id


async def test_the_same_key_makes_one_replay(services: Services, settings: Settings) -> None:
    await fail(services, settings, 1)
    request = read_request({"filter": {"state": "failed", "from": "24h"}}, OPERATOR)
    again = read_request({"filter": {"from": "24h", "state": "failed"}}, OPERATOR)
    receipts = await asyncio.gather(
        *(services.replays.create(one, OPERATOR, idempotency_key="k") for one in (request, again))
    )
    assert receipts[0].replay.id == receipts[1].replay.id
    assert sorted(receipt.duplicate for receipt in receipts) == [False, True]
    other = read_request({"filter": {"state": "failed"}}, OPERATOR)
    with pytest.raises(KeyReused):
        await services.replays.create(other, OPERATOR, idempotency_key="k")


async def test_a_bound_key_touches_and_sees_its_own_only(services: Services, settings: Settings) -> None:
    await fail(services, settings, 2)
    theirs = await make(services, STRANGER)
    assert theirs.total == 0
    mine = await make(services)
    for act in (services.replays.get, services.replays.cancel, services.replays.start):
        with pytest.raises(NotFound):
            await act(mine.id, STRANGER)
    assert [one.id for one in (await services.replays.page(STRANGER))[0]] == [theirs.id]
    assert [one.id for one in (await services.replays.page(OPERATOR))[0]] == [mine.id, theirs.id]


async def test_an_item_that_was_sent_once_more_since_had_failed(services: Services, settings: Settings) -> None:
    [failed] = await fail(services, settings)
    replay = await make(services)
    async with pumping(settings) as deliverer:
        await step(deliverer, replay)
        await deliver(services, settings, [failed])
        await services.actions.retry(failed, OPERATOR)
        await step(deliverer, replay)
    assert await results(services, replay) == {failed: ("failed", None)}
