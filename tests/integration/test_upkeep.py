"""Upkeep: what is due is seen, and what is old is forgotten, whatever goes on beside it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import uuid_utils.compat as uuids
from deliveries import CUSTOMER, ask, fields, post, pumping, settle, somebody_waits, stored, ucid
from replaying import counted, fail, make, step

from app.domain.disposition import fingerprint, parse_disposition
from app.domain.errors import NotFound
from app.services.keys import OPERATOR
from app.services.upkeep import Due, Upkeep
from app.settings import Settings
from app.storage import actions
from app.storage import upkeep as storage
from app.storage.dispositions import Arrival, store
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")

LONG_AGO = "created_at = created_at - interval '2 hours'"


@pytest.fixture
def upkeep(services: Services, settings: Settings) -> Upkeep:
    return Upkeep(services.engine, settings.retry_policy, retention=timedelta(hours=1), name="test")


async def test_what_is_due_is_seen_and_what_is_held_is_not(services: Services, upkeep: Upkeep) -> None:
    assert await upkeep.tick() == Due(work=False, overdue=False, served=False)
    await post(services)
    assert await upkeep.tick() == Due(work=True, overdue=False, served=False)
    await ask(services, "UPDATE calls SET next_at = next_at - interval '4 s'")
    assert await upkeep.tick() == Due(work=True, overdue=True, served=False)
    await services.accounts.hold(CUSTOMER, actor="test")
    assert await upkeep.tick() == Due(work=False, overdue=False, served=False)


async def test_what_waits_for_a_later_attempt_is_not_due(services: Services, upkeep: Upkeep) -> None:
    await post(services)
    await ask(services, "UPDATE calls SET next_at = next_at + interval '1 min'")
    assert not (await upkeep.tick()).work


async def test_any_number_may_tick_at_once(services: Services, settings: Settings, upkeep: Upkeep) -> None:
    await ask(services, "UPDATE accounts SET max_in_flight = 5")
    for number in range(20):
        await post(services, ucid(number))
    async with pumping(settings) as first, pumping(settings, kind="scheduler") as second:
        for _ in range(10):
            await asyncio.gather(first.upkeep.tick(), second.upkeep.tick(), upkeep.tick())
        await settle(services, first, second)
    stats = await services.reports.stats(OPERATOR)
    assert {state: n for state, n in stats["states"].items() if n} == {"delivered": 20}


async def test_pruning_forgets_what_is_old_and_final_with_its_counts_and_keys(
    services: Services, settings: Settings, upkeep: Upkeep
) -> None:
    await post(services, ucid(1), key="key-1")
    await post(services, ucid(2), key="key-2")
    async with pumping(settings) as deliverer:
        await settle(services, deliverer)
    waiting = await post(services, ucid(3))
    newer = await post(services, ucid(1), key="key-3", disposition="Call back")
    await ask(services, f"UPDATE dispositions SET {LONG_AGO} WHERE id <> :id", id=newer)
    await ask(services, f"UPDATE idempotency_keys SET {LONG_AGO} WHERE key <> 'key-3'")
    await upkeep.prune()
    assert {row.id for row in await ask(services, "SELECT id FROM dispositions")} == {waiting, newer}
    assert {row.ucid for row in await ask(services, "SELECT ucid FROM calls")} == {ucid(1), ucid(3)}
    assert await ask(services, "SELECT FROM attempts") == []
    assert {row.key for row in await ask(services, "SELECT key FROM idempotency_keys")} == {"key-3"}
    stats = await services.reports.stats(OPERATOR)
    assert {state: n for state, n in stats["states"].items() if n} == {"queued": 2}


async def test_a_call_that_gets_a_disposition_while_its_old_ones_are_pruned_is_left(
    services: Services, settings: Settings, upkeep: Upkeep
) -> None:
    await post(services)
    async with pumping(settings) as deliverer:
        await settle(services, deliverer)
    await ask(services, f"UPDATE dispositions SET {LONG_AGO}")
    new = parse_disposition(fields(disposition="Call back"))
    [account] = await services.accounts.all()
    arrival = Arrival(uuids.uuid7(), account.id, "test", new, fingerprint(new), timedelta(hours=72))
    async with services.engine.begin() as connection:
        await store(connection, [arrival], window=timedelta(minutes=10))
        await upkeep.prune()  # beside it, before its COMMIT
    await upkeep.prune()
    assert [row.id for row in await ask(services, "SELECT id FROM dispositions")] == [arrival.id]
    assert len(await ask(services, "SELECT FROM calls")) == 1


async def test_what_is_sent_again_while_it_is_pruned_is_left(
    services: Services, settings: Settings, upkeep: Upkeep
) -> None:
    ids = await fail(services, settings, 2)
    await ask(services, f"UPDATE dispositions SET {LONG_AGO}")
    async with services.engine.begin() as connection:
        # As an operator or a replay does it.
        assert await actions.lock(connection, ids[0])
        assert await actions.send_again(connection, ids[:1], actor="test", reason=None) == {ids[0]}
        await upkeep.prune()  # beside it, before its COMMIT, for which it does not wait
    assert await stored(services) == {ids[0]: "queued"}


async def test_what_is_pruned_while_its_call_is_waited_for_is_not_there(
    services: Services, settings: Settings, upkeep: Upkeep
) -> None:
    [gone] = await fail(services, settings)
    await ask(services, f"UPDATE dispositions SET {LONG_AGO}")
    await post(services)  # so that the call stays
    async with services.engine.begin() as pruning:
        await storage.prune(pruning, retention=timedelta(hours=1), limit=10)
        retrying = asyncio.create_task(services.actions.retry(gone, OPERATOR))
        await somebody_waits(services)
    with pytest.raises(NotFound):
        await retrying


async def test_what_a_replay_has_sent_is_left_until_the_replay_knows_what_became_of_it(
    services: Services, settings: Settings, upkeep: Upkeep
) -> None:
    ids = await fail(services, settings)
    replay = await make(services)
    async with pumping(settings) as deliverer:
        assert await step(deliverer, replay)
        deliverer.pump.wake()
        await settle(services, deliverer)  # CloudAgent refuses it once more
        await ask(services, f"UPDATE dispositions SET {LONG_AGO}")  # it came of age meanwhile
        await upkeep.prune()
        await step(deliverer, replay, steps=3)
    found = await services.replays.get(replay.id, OPERATOR)
    assert found.settled_at
    assert counted(found) == {"failed": 1}
    assert await stored(services) == {ids[0]: "failed"}
    await upkeep.prune()
    assert await stored(services) == {}
