"""Upkeep: what has to happen in time, whoever else is down. The scheduler does it every second."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.retry import RetryPolicy
from app.services.attempts import recover
from app.storage import failures, processes, reports, upkeep

log = structlog.get_logger(__name__)

_BATCH = 1000

# Workers come for what is due within a second. Nobody for this long: the broker is gone, or all workers are.
_PATIENCE = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Due:
    """``work``: something can be claimed; ``overdue``: and could be for a while. ``served``: workers do come."""

    work: bool
    overdue: bool
    served: bool


class Upkeep:
    """The chores. Any number of processes may do them at once."""

    def __init__(self, engine: AsyncEngine, retry: RetryPolicy, *, retention: timedelta, name: str) -> None:
        self._engine = engine
        self._retry = retry
        self._retention = retention
        self._name = name

    async def tick(self) -> Due:
        """Takes back lost attempts, fails what has expired, adds up counts; tells what is due."""
        while await recover(self._engine, self._retry, name=self._name, limit=_BATCH) == _BATCH:
            pass
        while await self._expire() == _BATCH:
            pass
        async with self._engine.begin() as connection:
            await upkeep.fold_counts(connection)
            await failures.fold(connection)
        async with self._engine.connect() as connection:
            served = await processes.consumed_within(connection, _PATIENCE)
            since = await upkeep.oldest_due(connection)
            if since is None:
                return Due(work=False, overdue=False, served=served)
            waited = await reports.database_time(connection) - since
            return Due(work=True, overdue=waited > _PATIENCE, served=served)

    async def served(self) -> bool:
        """True if a worker took a wake-up lately: the way through the broker is open."""
        async with self._engine.connect() as connection:
            return await processes.consumed_within(connection, _PATIENCE)

    async def prune(self) -> bool:
        """Deletes a piece of what is older than the retention; True if there may be more."""
        async with self._engine.begin() as connection:
            pruned = await upkeep.prune(connection, retention=self._retention, limit=_BATCH)
        if pruned:
            log.info("pruned", rows=pruned)
        return pruned == _BATCH

    async def _expire(self) -> int:
        async with self._engine.begin() as connection:
            expired = await upkeep.expire(connection, limit=_BATCH)
        if expired:
            log.warning("expired", dispositions=expired)
        return expired
