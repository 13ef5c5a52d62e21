"""What is done to a running Wrapup, one thing after another, drawn with a seed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from celery import Celery
from kombu.connection import Connection
from redis import Redis
from redis.exceptions import RedisError

from app.broker import QUEUE, TASK, TRANSPORT_OPTIONS
from tests.faults.site import WATCHDOG, Site, go_on, stop_still

Act = Callable[[Site, random.Random], Awaitable[None]]


async def _kill(pids: Sequence[int | None]) -> None:
    for pid in pids:
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def kill_api(site: Site, chance: random.Random) -> None:
    await _kill([site.processes["api"].pid])


async def kill_worker_child(site: Site, chance: random.Random) -> None:
    await _kill([chance.choice(site.worker_children() or [None])])


async def kill_worker_parent(site: Site, chance: random.Random) -> None:
    await _kill([site.processes["worker"].pid])
    await asyncio.sleep(3)  # it takes as long to start


async def kill_scheduler(site: Site, chance: random.Random) -> None:
    await _kill([site.processes[chance.choice(["scheduler-0", "scheduler-1"])].pid])


async def kill_postgres(site: Site, chance: random.Random) -> None:
    await _kill([site.servers["postgres"].pid])
    await asyncio.sleep(2)


async def kill_valkey(site: Site, chance: random.Random) -> None:
    await _kill([site.servers["valkey"].pid])
    await asyncio.sleep(1)


async def _pause(pid: int | None, seconds: float) -> None:
    if pid is not None:
        stop_still(pid)
        try:
            await asyncio.sleep(seconds)
        finally:
            go_on(pid)


async def pause_worker_child_briefly(site: Site, chance: random.Random) -> None:
    await _pause(chance.choice(site.worker_children() or [None]), chance.uniform(0.2, 0.9) * WATCHDOG)


async def pause_worker_child_for_long(site: Site, chance: random.Random) -> None:
    await _pause(chance.choice(site.worker_children() or [None]), chance.uniform(1.5, 4.5) * WATCHDOG)


async def pause_scheduler(site: Site, chance: random.Random) -> None:
    await _pause(site.processes["scheduler-0"].pid, chance.uniform(0.2, 4) * WATCHDOG)


async def pause_api(site: Site, chance: random.Random) -> None:
    await _pause(site.processes["api"].pid, chance.uniform(0.2, 4) * WATCHDOG)


async def pause_everybody(site: Site, chance: random.Random) -> None:
    """As a machine does that stands still: all processes of Wrapup, not the servers."""
    pids = [*site.worker_children(), *(process.pid for process in site.processes.values())]
    await asyncio.gather(*(_pause(pid, 0.7 * WATCHDOG) for pid in pids))


async def freeze_broker(site: Site, chance: random.Random) -> None:
    await _pause(site.servers["valkey"].pid, chance.uniform(1, 4))


async def _with_broker(site: Site, ask: Callable[[Redis], object]) -> None:
    with suppress(RedisError):  # it may be down
        await asyncio.to_thread(ask, site.broker)


async def flush_broker(site: Site, chance: random.Random) -> None:
    for _ in range(10):
        await _with_broker(site, lambda broker: broker.flushall())
        await asyncio.sleep(0.1)


async def exhaust_brokers_memory(site: Site, chance: random.Random) -> None:
    await _with_broker(site, lambda broker: broker.config_set("maxmemory", 1))
    await asyncio.sleep(chance.uniform(1, 3))
    await _with_broker(site, lambda broker: broker.config_set("maxmemory", 0))


async def fill_brokers_disk(site: Site, chance: random.Random) -> None:
    assert site.disk is not None
    ballast = site.disk / "ballast"
    await asyncio.to_thread(_fill, ballast)
    await asyncio.sleep(chance.uniform(1, 3))
    ballast.unlink()


def _fill(ballast: Path) -> None:
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


async def double_wake_ups(site: Site, chance: random.Random) -> None:
    def ring() -> None:
        celery = Celery("nemesis", broker=site.broker_url, set_as_current=False)
        # Whatever the transport raises: the broker may be down.
        with suppress(Exception), Connection(site.broker_url, transport_options=TRANSPORT_OPTIONS) as connection:
            for _ in range(50):
                celery.send_task(TASK, queue=QUEUE, connection=connection, retry=False, ignore_result=True)

    await asyncio.to_thread(ring)


async def cut_database(site: Site, chance: random.Random) -> None:
    site.database.cut()


ACTS: tuple[Act, ...] = (
    kill_api,
    kill_worker_child,
    kill_worker_parent,
    kill_scheduler,
    kill_postgres,
    kill_valkey,
    pause_worker_child_briefly,
    pause_worker_child_for_long,
    pause_scheduler,
    pause_api,
    pause_everybody,
    freeze_broker,
    flush_broker,
    exhaust_brokers_memory,
    fill_brokers_disk,
    double_wake_ups,
    cut_database,
)


class Nemesis:
    """Does one act after another, each kind as often as the others. ``done`` counts them by name."""

    def __init__(self, acts: Sequence[Act], chance: random.Random, done: Counter[str]) -> None:
        self._acts = acts
        self._chance = chance
        self._done = done

    async def torment(self, site: Site) -> None:
        """Until it is cancelled."""
        acts = [act for act in self._acts if act is not fill_brokers_disk or site.disk is not None]
        while acts:
            fewest = min(self._done[act.__name__] for act in acts)
            act = self._chance.choice([act for act in acts if self._done[act.__name__] == fewest])
            self._done[act.__name__] += 1
            await act(site, self._chance)
            await asyncio.sleep(self._chance.uniform(0.3, 1.2))
