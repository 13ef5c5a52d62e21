"""The heartbeat of a process that delivers: every second it says that it lives, and how much it gets done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

import uuid_utils.compat as uuids
from sqlalchemy.ext.asyncio import AsyncEngine

from app.storage import processes

_SPAN = 10.0  # seconds that a rate is taken over


class Rate:
    """How fast a count grows, a second, over the last ten seconds of readings."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, int]] = deque()

    def read(self, count: int, now: float) -> float:
        """Takes a reading at ``now`` (seconds, of any clock that never goes back); gives the rate, nothing at first."""
        self._readings.append((now, count))
        while now - self._readings[0][0] > _SPAN:
            self._readings.popleft()
        since, before = self._readings[0]
        return (count - before) / (now - since) if now > since else 0.0


class Heartbeat:
    """Keeps the row of this process up to date. ``ended`` gives how many attempts it has brought to their end."""

    def __init__(self, engine: AsyncEngine, ended: Callable[[], int], *, kind: str, name: str) -> None:
        self._engine = engine
        self._ended = ended
        self._kind = kind
        self._name = name
        self._process_id = uuids.uuid7()
        self._rate = Rate()

    async def beat(self, *, consumed: bool = False) -> float:
        """Beats; gives the attempts a second. ``consumed``: a wake-up came from the broker since the last beat."""
        rate = self._rate.read(self._ended(), monotonic())
        async with self._engine.begin() as connection:
            await processes.beat(
                connection, self._process_id, kind=self._kind, name=self._name, consumed=consumed, rate=rate
            )
        return rate
