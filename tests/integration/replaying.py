"""What the tests of replays share: dispositions that failed, and a replay that is run to its end."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from deliveries import ask, deliver, post, pumping, ucid
from sqlalchemy import Row

from app.domain.replays import Result
from app.services.keys import OPERATOR, Caller
from app.services.replays import read_request
from app.settings import Settings
from app.wiring import Deliverer, Services

FAILED = {"state": "failed"}


async def fail(services: Services, settings: Settings, n: int = 1, *, start: int = 0, **changes: Any) -> list[UUID]:
    """Dispositions that CloudAgent refused: it does not know their agent."""
    made = [await post(services, ucid(start + number), **{"agent_id": "unknown1", **changes}) for number in range(n)]
    for failed in await deliver(services, settings, made):
        assert failed["state"] == "failed", failed
    return made


async def make(services: Services, caller: Caller = OPERATOR, **fields: Any) -> Row[Any]:
    """A replay, of all that failed if nothing else is said, and as fast as can be."""
    request = read_request({"filter": FAILED, "rate_per_second": 1000, **fields}, caller)
    return (await services.replays.create(request, caller)).replay


async def step(deliverer: Deliverer, replay: Row[Any], *, steps: int = 1) -> int:
    """Steps that are due at once, whatever the pace; gives how many there were to do."""
    done = 0
    for _ in range(steps):
        async with deliverer.engine.begin() as connection:
            await connection.exec_driver_sql(
                f"UPDATE replays SET next_at = 'epoch', look_at = 'epoch' WHERE id = '{replay.id}'"
            )
        done += await deliverer.replay_steps.step()
    return done


async def run(services: Services, settings: Settings, replay: Row[Any]) -> Row[Any]:
    """Runs a replay until it is settled, delivering what it sends."""
    async with pumping(settings) as deliverer:
        for _ in range(2000):
            await step(deliverer, replay)
            deliverer.pump.wake()
            found = await services.replays.get(replay.id, OPERATOR)
            if found.settled_at is not None:
                return found
    raise AssertionError(f"not settled: {found}")


async def results(services: Services, replay: Row[Any]) -> dict[UUID, tuple[str, str | None]]:
    """Each item's result, and why."""
    items, _ = await services.replays.items(replay.id, limit=10_000)
    return {item.disposition_id: (item.result, item.why) for item in items}


def counted(replay: Row[Any]) -> dict[str, int]:
    """How many items stand where, without the noughts."""
    return {result.value: n for result in Result if (n := getattr(replay, result.value))}


async def events_of(services: Services, replay: Row[Any]) -> list[tuple[str, str]]:
    """The audit trail's lines about a replay: actor and action."""
    found = await ask(
        services, "SELECT actor, action FROM events WHERE subject = :it ORDER BY id", it=f"replay:{replay.id}"
    )
    return [(row.actor.partition(":")[0], row.action) for row in found]
