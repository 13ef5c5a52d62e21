"""A failure that is corrected as a whole is noted as known while somebody is at it, and no longer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from deliveries import ask, somebody_waits
from replaying import fail, make, run, step
from sqlalchemy import Row, text

from app.services.keys import OPERATOR
from app.settings import Settings
from app.storage.failures import Wanted, fold
from app.wiring import Services, open_deliverer

pytestmark = pytest.mark.usefixtures("account")


async def mended(services: Services, right: str, **asked: Any) -> Row[Any]:
    """A replay under way that corrects the agent of the only failure there is."""
    [failure] = (await services.failures.all(Wanted(), limit=2)).failures
    correction = {"action": "resend", "map": {"agent_id": {"unknown1": right}}, "reason": "the old name"}
    drafted = await make(services, filter={"failure": str(failure["id"])}, **correction, start=False, **asked)
    await services.mending.start(drafted.id, OPERATOR)
    return await services.replays.get(drafted.id, OPERATOR)


async def known(services: Services) -> list[tuple[int, bool]]:
    """How many are in each failure, and whether it is noted as known."""
    found = (await services.failures.all(Wanted(), limit=9)).failures
    return sorted((one["count"], one["acknowledged"]) for one in found)


async def test_it_is_known_while_it_is_corrected_and_gone_when_it_has_been(
    services: Services, settings: Settings
) -> None:
    await fail(services, settings, 3)
    replay = await mended(services, "a17")
    assert await known(services) == [(3, True)]
    await run(services, settings, replay)
    assert await known(services) == []


async def test_what_a_cancelled_replay_has_left_needs_somebody_again(services: Services, settings: Settings) -> None:
    await fail(services, settings, 3)
    replay = await mended(services, "a17", rate_per_second=1)
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        await step(deliverer, replay)
    assert await known(services) == [(2, True)]
    await services.replays.cancel(replay.id, OPERATOR, reason="enough")
    assert await known(services) == [(2, False)]
    [told] = await ask(services, "SELECT reason FROM events WHERE action = 'failure reopened'")
    assert told.reason == f"the replay {replay.id} ended with 2 not corrected"


async def test_what_a_replay_that_stopped_by_itself_has_left_does_too(services: Services, settings: Settings) -> None:
    await fail(services, settings, 12)
    done = await run(services, settings, await mended(services, "unknown2", stop_after=4, rate_per_second=2))
    assert done.state == "stopped"
    assert await known(services) == sorted([(done.failed, False), (done.waiting, False)])


async def test_a_draft_that_is_thrown_away_says_nothing_about_the_failure(
    services: Services, settings: Settings
) -> None:
    await fail(services, settings, 2)
    [failure] = (await services.failures.all(Wanted(), limit=2)).failures
    await services.failures.acknowledge(failure["id"], OPERATOR, note="ticket 4711")
    drafted = await make(services, filter={"failure": str(failure["id"])}, start=False)
    await services.replays.cancel(drafted.id, OPERATOR)
    assert await known(services) == [(2, True)]


async def test_a_replay_that_is_cancelled_while_failures_are_added_up_waits_for_its_turn(
    services: Services, settings: Settings
) -> None:
    await fail(services, settings)
    await fail(services, settings, start=1, agent_id="unknown2")
    ids = sorted(one["id"] for one in (await services.failures.all(Wanted(), limit=9)).failures)
    correction = {"action": "resend", "map": {"agent_id": {"unknown1": "a17", "unknown2": "a17"}}, "reason": "old"}
    drafted = await make(services, filter={"failure": [str(one) for one in ids]}, **correction, start=False)
    await services.mending.start(drafted.id, OPERATOR)
    assert await known(services) == [(1, True), (1, True)]
    async with services.engine.begin() as folding:
        await fold(folding)
        one_of_them = text("UPDATE failures SET n = n WHERE id = :id")
        await folding.execute(one_of_them, {"id": ids[1]})
        cancelling = asyncio.create_task(services.replays.cancel(drafted.id, OPERATOR))
        await somebody_waits(services)
        await folding.execute(one_of_them, {"id": ids[0]})
    await cancelling
    assert await known(services) == [(1, False), (1, False)]
