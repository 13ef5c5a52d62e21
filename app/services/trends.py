"""Trends: the last hour, minute by minute, for the charts of the pages. As cheap at five million rows as at five."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.lifecycle import State
from app.services.health import LATENCY_BUCKETS_MS
from app.services.keys import Caller
from app.storage import reports, trends

MINUTES = 60
PERCENTILES = (50, 95, 99)

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Trend:
    """One figure for each of ``minutes``, the oldest first; the last minute is still under way.

    ``came_in`` is what was accepted or sent again. ``waiting`` is how many were not final at the minute's start.
    ``latency_ms`` has for each percentile milliseconds, None where nothing was called. ``outcomes`` counts the attempts
    of the hour.
    """

    minutes: Sequence[datetime]
    came_in: Sequence[int]
    delivered: Sequence[int]
    failed: Sequence[int]
    waiting: Sequence[int]
    latency_ms: Mapping[int, Sequence[float | None]]
    outcomes: Mapping[str, int]


class Trends:
    """Reads what the scheduler counts."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def last_hour(self, caller: Caller) -> Trend:
        """The last hour of the accounts that are the caller's."""
        async with self._engine.connect() as connection:
            rows = await trends.by_minute(connection, minutes=MINUTES)
            now = await reports.database_time(connection)
        counted: defaultdict[tuple[str, str], Counter[datetime]] = defaultdict(Counter)
        latency: defaultdict[datetime, Counter[str]] = defaultdict(Counter)
        outcomes: Counter[str] = Counter()
        for row in rows:
            if not caller.owns(row.account):
                continue
            if row.kind == "attempt":
                outcomes[row.key] += row.n
            elif row.kind == "latency":
                latency[row.minute][row.key] += row.n
            else:
                counted[row.kind, row.key.partition(":")[0]][row.minute] += row.n
        last = now.replace(second=0, microsecond=0)
        minutes = [last - _MINUTE * ago for ago in range(MINUTES - 1, -1, -1)]

        def series(kind: str, key: str) -> list[int]:
            return [counted[kind, key][minute] for minute in minutes]

        return Trend(
            minutes=minutes,
            came_in=series("state", State.QUEUED),
            delivered=series("state", State.DELIVERED),
            failed=series("state", State.FAILED),
            waiting=series("waiting", "all"),
            latency_ms={share: [percentile(latency[minute], share) for minute in minutes] for share in PERCENTILES},
            outcomes=dict(outcomes.most_common()),
        )


def percentile(buckets: Mapping[str, int], share: int) -> float | None:
    """Within how many milliseconds ``share`` percent of the calls were answered, None if there was none.

    Counts are known for each bucket only, so it is interpolated within one; what took longer than the last bound is
    given as that.
    """
    wanted = sum(buckets.values()) * share / 100
    if not wanted:
        return None
    below, passed = 0, 0.0
    for bound in LATENCY_BUCKETS_MS:
        here = buckets.get(str(bound), 0)
        if here and passed + here >= wanted:
            return below + (bound - below) * (wanted - passed) / here
        below, passed = bound, passed + here
    return float(LATENCY_BUCKETS_MS[-1])
