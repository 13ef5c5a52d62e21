"""Crash points: every edge that is seen in the work of API and workers, each hit as often as the others."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.faults.postgres_proxy import Edge

KILL, CUT = "kill", "cut"

# What a disposition's way consists of. The rest, heartbeats and counts, is hit by the nemesis at random.
_ON_THE_WAY = ("calls", "dispositions", "attempts", "idempotency_keys", "lanes")
_UPSTREAM = ("CloudAgent", "the request", "the reply")
_RECENTLY = 10.0  # seconds


@dataclass(frozen=True)
class Point:
    """An edge, and what happens there: the process is killed with SIGKILL, or its connection is cut."""

    edge: Edge
    act: str

    def __str__(self) -> str:
        return f"{self.act} {self.edge}"


@dataclass
class CrashPoints:
    """Decides at each edge. ``pause``: seconds between two hits of one kind of process, in which it recovers."""

    random: random.Random
    process_at: Callable[[int], int | None] = lambda port: None
    pause: float = 0.25
    active: bool = False
    armed: bool = True  # False: delays only
    delay: Callable[[Edge], float] = lambda edge: 0.0  # seconds that an edge takes
    hits: Counter[Point] = field(default_factory=Counter)
    _seen_at: dict[Point, float] = field(default_factory=dict)
    _quiet_until: dict[str, float] = field(default_factory=dict)

    async def at_edge(self, edge: Edge, process: int) -> bool:
        """Whether the connection goes on. ``process``: its id; or, below 0, its TCP port."""
        if self.active and (seconds := self.delay(edge)):
            await asyncio.sleep(seconds)
        point = self._choose(edge) if self.active and self.armed else None
        if point is None:
            return True
        pid = process if process > 0 else self.process_at(-process)
        if point.act == KILL:
            if pid is None:
                return True  # it went away by itself
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.hits[point] += 1
        return False

    def rest(self, kind: str, seconds: float) -> None:
        """Leaves this kind of process alone for a while."""
        self._quiet_until[kind] = max(self._quiet_until.get(kind, 0), time.monotonic() + seconds)

    def _choose(self, edge: Edge) -> Point | None:
        """The point, if it is this edge's turn: it was not hit more often than what else comes by these days."""
        if edge.kind not in ("api", "worker") or not _is_on_the_way(edge.statement):
            return None
        now = time.monotonic()
        both = [Point(edge, KILL), Point(edge, CUT)]
        for point in both:
            self._seen_at[point] = now
        if now < self._quiet_until.get(edge.kind, 0):
            return None
        point = min(both, key=lambda one: (self.hits[one], self.random.random()))
        others = [
            self.hits[one]
            for one, seen in self._seen_at.items()
            if one.edge.kind == edge.kind and now - seen < _RECENTLY
        ]
        if self.hits[point] > min(others):
            return None
        self.rest(edge.kind, self.pause)
        return point

    @property
    def known(self) -> set[Point]:
        """All that were seen so far."""
        return set(self._seen_at)


def _is_on_the_way(statement: str) -> bool:
    if statement.startswith("ROLLBACK"):
        return False  # what it undoes would be undone anyway
    return any(word in statement for word in (*_ON_THE_WAY, *_UPSTREAM))
