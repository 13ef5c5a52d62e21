"""Crash points: every edge that is seen in the work of API and workers, each hit as often as is wanted."""

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
_PATIENCE = 100  # edges of a kind of process among which one that is wanted should come by
_UPSTREAM = ("CloudAgent", "the request", "the reply")


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
    goal: int = 1  # how often each point is to be hit
    pause: float = 0.12
    active: bool = False
    armed: bool = True  # False: delays only
    delay: Callable[[Edge], float] = lambda edge: 0.0  # seconds that an edge takes
    hits: Counter[Point] = field(default_factory=Counter)
    known: set[Point] = field(default_factory=set)  # all that were seen so far
    only: frozenset[Point] | None = None  # if given, all others are left alone
    _quiet_until: dict[str, float] = field(default_factory=dict)
    _in_vain: Counter[str] = field(default_factory=Counter)  # edges since one was wanted, by kind of process
    _rare: set[Point] = field(default_factory=set)

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
        """The point, if it is this edge's turn.

        Wanted are those that were hit least, so that what comes early in a transaction does not stand in the way of
        what comes late. One that does not come by for long is a rare one: it is hit whenever it does.
        """
        if edge.kind not in ("api", "worker") or not _is_on_the_way(edge.statement):
            return None
        here = [Point(edge, KILL), Point(edge, CUT)]
        self.known.update(here)
        if time.monotonic() < self._quiet_until.get(edge.kind, 0):
            return None
        wanted = self.known if self.only is None else self.only
        common = [point for point in wanted - self._rare if point.edge.kind == edge.kind]
        fewest = min((self.hits[point] for point in common), default=self.goal)
        self.random.shuffle(here)
        for point in here:
            due = point in self._rare or self.hits[point] == fewest
            if due and point in wanted and self.hits[point] < self.goal:
                self._in_vain[edge.kind] = 0
                self.rest(edge.kind, self.pause)
                return point
        self._in_vain[edge.kind] += 1
        if self._in_vain[edge.kind] == _PATIENCE:
            self._in_vain[edge.kind] = 0
            self._rare.update(point for point in common if self.hits[point] == fewest)
        return None


def _is_on_the_way(statement: str) -> bool:
    if statement.startswith("ROLLBACK"):
        return False  # what it undoes would be undone anyway
    return any(word in statement for word in (*_ON_THE_WAY, *_UPSTREAM))
