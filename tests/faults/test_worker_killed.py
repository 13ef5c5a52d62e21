"""Workers die, stand still and are stopped in the middle of calls: no disposition is lost, and no call is hidden."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.sandbox import Sandbox
from app.services.keys import OPERATOR
from app.wiring import Services
from tests.faults.servers import Broker, stopped
from tests.installation import CALL, Running, Wrapup, children, lives, ucids, until

# A call may take a second. Its lease is as long as that, the watchdog and the margin together.
BRIEF = {
    "WRAPUP_CALL_DEADLINE_SECONDS": "1",
    "WRAPUP_WATCHDOG": "1s",
    "WRAPUP_LEASE_MARGIN": "1s",
    "WRAPUP_RETRY_DELAYS": "100ms",
}
LEASE = timedelta(seconds=3)


@pytest.fixture
async def worker(wrapup: Wrapup, cloudagent: Sandbox) -> Running:
    """A worker with one child, beside a scheduler."""
    wrapup.start("scheduler", **BRIEF)
    running = wrapup.start("worker", "--processes=1", **BRIEF)
    await running.says("worker ready")
    return running


class Desk:
    """Hands in dispositions and looks them up."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def post(self, *ucids: str) -> list[UUID]:
        fields = [{"account": "acme", "ucid": ucid, **CALL} for ucid in ucids]
        receipts = await asyncio.gather(*(self._services.intake.accept(one, OPERATOR) for one in fields))
        return [receipt.id for receipt in receipts]

    async def whole(self, disposition_id: UUID) -> dict[str, Any]:
        return await self._services.reports.disposition(disposition_id, OPERATOR)

    async def all_delivered(self, ids: Iterable[UUID]) -> list[dict[str, Any]]:
        """These dispositions, once there is none that is not delivered."""

        async def delivered() -> bool:
            async with self._services.engine.connect() as connection:
                query = text("SELECT count(*) FROM dispositions WHERE state <> 'delivered'")
                return await connection.scalar(query) == 0

        await until(delivered)
        return [await self.whole(one) for one in ids]

    async def attempts_of(self, worker: str) -> set[str]:
        """The ids of the attempts that this process made."""
        async with self._services.engine.connect() as connection:
            query = text("SELECT id FROM attempts WHERE worker LIKE '%:' || :pid")
            return {str(one) for one in await connection.scalars(query, {"pid": worker})}


@pytest.fixture
def desk(services: Services) -> Desk:
    """Intake and reports."""
    return Desk(services)


async def test_a_call_whose_worker_was_killed_is_of_unknown_outcome_and_is_made_again(
    worker: Running, desk: Desk, cloudagent: Sandbox
) -> None:
    [ucid] = ucids(1)
    cloudagent.script(ucid, ["hang"])
    [disposition] = await desk.post(ucid)
    await cloudagent.arrivals(1)
    [child] = children(worker.pid)
    os.kill(child, signal.SIGKILL)

    [found] = await desk.all_delivered([disposition])
    lost, made = found["attempts"]
    assert (lost["outcome"], lost["certainty"], lost["finished_at"]) == ("unknown", "sent_unknown", None)
    assert (lost["http_status"], lost["latency_ms"]) == (None, None)
    assert (made["outcome"], made["number"]) == ("saved", 2)
    assert made["started_at"] - lost["started_at"] > LEASE
    assert [arrival.request_id for arrival in cloudagent.log] == [str(lost["id"]), str(made["id"])]


async def test_the_children_of_a_worker_die_with_it(wrapup: Wrapup, worker: Running) -> None:
    several = wrapup.start("worker", "--processes=3")
    await until(lambda: len(children(several.pid)) == 3)
    [child], siblings = children(worker.pid), children(several.pid)
    for parent in (worker, several):
        parent.process.kill()
    await until(lambda: not any(map(lives, [child, *siblings])), 5)


async def test_a_worker_that_stood_still_dies_before_it_sends(worker: Running, desk: Desk, cloudagent: Sandbox) -> None:
    cloudagent.misbehave(latency="100ms-300ms")
    [child] = children(worker.pid)
    ids = await desk.post(*ucids(150))  # three times as many as the account takes at once
    await cloudagent.arrivals(60)
    os.kill(child, signal.SIGSTOP)
    found = await desk.all_delivered(ids)  # by the scheduler, which takes over
    assert any(attempt["outcome"] == "unknown" for one in found for attempt in one["attempts"])

    seen = len(cloudagent.log)
    os.kill(child, signal.SIGCONT)
    await until(lambda: not lives(child), 5)
    await worker.says("exited with 'signal 14 (SIGALRM)'")
    assert len(cloudagent.log) == seen
    made = [str(attempt["id"]) for one in found for attempt in one["attempts"]]
    arrived = [arrival.request_id for arrival in cloudagent.log]
    assert len(set(arrived)) == len(arrived)
    assert set(arrived) <= set(made)
    assert await desk.attempts_of(str(child)) & set(arrived)

    # Another one has taken its place.
    [disposition] = await desk.post("42")
    await desk.all_delivered([disposition])
    assert child not in children(worker.pid)


@pytest.mark.parametrize("broker_is", ["at work", "frozen"])
async def test_a_worker_that_is_stopped_ends_its_calls_and_records_them(
    broker_is: str, worker: Running, desk: Desk, cloudagent: Sandbox, broker: Broker
) -> None:
    cloudagent.misbehave(latency="600ms")
    ids = await desk.post(*ucids(40))
    await cloudagent.arrivals(40)
    with stopped(broker.pid) if broker_is == "frozen" else nullcontext():
        began = time.monotonic()
        assert await worker.stop() == 0
        print(f"stopped after {time.monotonic() - began:.1f} s")
    for found in [await desk.whole(one) for one in ids]:
        [attempt] = found["attempts"]
        assert (found["state"], attempt["outcome"]) == ("delivered", "saved")
    assert len(cloudagent.log) == 40


async def test_a_worker_that_is_stopped_while_calls_hang_leaves_within_their_deadline(
    worker: Running, desk: Desk, cloudagent: Sandbox
) -> None:
    cloudagent.misbehave(mix="hang=100")
    ids = await desk.post(*ucids(20))
    await cloudagent.arrivals(20)
    began = time.monotonic()
    assert await worker.stop() == 0
    took = time.monotonic() - began
    print(f"stopped after {took:.1f} s")
    assert took < 10  # the calls themselves never end; on a busy machine Celery's own stop takes seconds
    for found in [await desk.whole(one) for one in ids]:
        assert (found["attempts"][0]["outcome"], found["attempts"][0]["certainty"]) == ("no_reply", "sent_unknown")
