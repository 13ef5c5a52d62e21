"""One run: a Wrapup of its own, clients, something that torments it, a rest in which all has to end, and the check."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.faults.checker import Evidence, Findings, check
from tests.faults.load import Load
from tests.faults.nemesis import ACTS, Act, Nemesis
from tests.faults.points import CrashPoints, Point
from tests.faults.postgres_proxy import Edge
from tests.faults.site import LEASE, Site

UPSTREAM_FAULTS = (
    "503=2,500=1,500_success=1,429:1=1,error=3,max_limit=1,html=1,garbage=1,half=2,not_http=1,"
    "reset_before=2,reset_after=3,hang=1,hang_after=1.5,slow_drip:100ms=0.5,unknown_fail=1"
)
LATENCY = "2ms-40ms"


@dataclass(frozen=True)
class Scenario:
    """What a run consists of. Times are in seconds."""

    seconds: float = 20
    settle: float = 90  # for everything to end, once it is left alone
    acts: Sequence[Act] = ACTS
    points: bool = True
    goal: int = 10  # how often each crash point is to be hit, in all runs of a ledger together
    rare: bool = False  # only the crash points are hit that were hit least in the runs before
    faults: str = UPSTREAM_FAULTS
    trouble: str = "hang=60,auth_fail=5,401=2"  # what befalls the account in trouble
    delay: Callable[[random.Random, Edge], float] = lambda chance, edge: 0.0
    clients: int = 4
    settings: Mapping[str, str] = field(default_factory=dict)  # environment variables beside those of every site
    pause: float = 0.1


def now_and_then_longer_than_the_lease(chance: random.Random, edge: Edge) -> float:
    """Has the lock for a finish taken only when the lease is out, once in thirty times."""
    late = edge.kind == "worker" and edge.statement == "LOCK calls" and not edge.done and chance.random() < 1 / 30
    return 1.1 * LEASE if late else 0.0


@dataclass
class Ledger:
    """What was done in all runs together."""

    hits: Counter[Point] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    known: set[Point] = field(default_factory=set)

    def hit_least(self, goal: int) -> frozenset[Point]:
        """A quarter of the points, of those that were hit less than ``goal`` times."""
        missing = sorted((self.hits[point], str(point), point) for point in self.known if self.hits[point] < goal)
        return frozenset(point for _, _, point in missing[: len(self.known) // 4])


async def run(
    folder: Path, scenario: Scenario, *, seed: int, code: Path | None = None, ledger: Ledger | None = None
) -> Findings:
    """Does a run in ``folder``, which is made, and says what it showed."""
    ledger = Ledger() if ledger is None else ledger
    chance = random.Random(seed)
    points = CrashPoints(random.Random(seed), goal=scenario.goal, delay=lambda edge: scenario.delay(chance, edge))
    points.hits.update(ledger.hits)
    points.known.update(ledger.known)
    if scenario.rare:
        points.only = ledger.hit_least(scenario.goal)
    site = Site(folder, points, seed=seed, settings=scenario.settings, code=code)
    try:
        await site.start()
        load = Load(site.url, site.key, folder / "told.ndjson", chance, pause=scenario.pause)
        await _trouble(site, load, scenario, ledger)
        await _settle(site, load, scenario.settle)
        await load.aclose()
        await site.export()
    finally:
        ledger.hits.update(points.hits - ledger.hits)
        ledger.known |= points.known
        await site.stop()
    return check(Evidence.read(folder))


async def _trouble(site: Site, load: Load, scenario: Scenario, ledger: Ledger) -> None:
    """Clients and nemesis, side by side."""
    latency = {"latency": LATENCY}
    await site.misbehave(
        {
            "acme": {"mix": scenario.faults, **latency},
            "calm": latency,
            "held": latency,
            "trouble": {"mix": scenario.trouble, **latency},
        }
    )
    clients = [asyncio.create_task(load.agent("acme")) for _ in range(scenario.clients)]
    clients += [
        asyncio.create_task(load.agent("calm", calm=True)),
        asyncio.create_task(load.agent("held")),
        asyncio.create_task(load.agent("trouble")),
        asyncio.create_task(load.operator("held")),
        asyncio.create_task(load.releaser("trouble")),
    ]
    site.points.armed = scenario.points
    site.points.active = True
    nemesis = asyncio.create_task(Nemesis(scenario.acts, random.Random(site.seed), ledger.acts).torment(site))
    await asyncio.wait([nemesis, *clients], timeout=scenario.seconds, return_when=asyncio.FIRST_EXCEPTION)
    nemesis.cancel()
    site.points.active = False
    load.stop()
    with suppress(asyncio.CancelledError):
        await nemesis
    await asyncio.gather(*clients)
    await site.misbehave({name: {"mix": "", **latency} for name in site.api_keys})


async def _settle(site: Site, load: Load, seconds: float) -> None:
    """Returns when all has ended, or after the time. What has not ended by then is the checker's to tell."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        with suppress(psycopg.Error):  # it may be starting still
            # A refusal of a key may still be recorded, and put its account on hold once more. Not more often than
            # that: each release rings for the workers.
            await load.release(*site.on_hold())
            if site.unfinished() == 0:
                return
        await asyncio.sleep(0.5)
