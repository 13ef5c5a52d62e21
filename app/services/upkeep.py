"""Upkeep: what has to happen in time, whoever else is down. The scheduler does it every second."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.retry import RetryPolicy
from app.services.delivery import recover
from app.storage import processes, reports, upkeep

log = structlog.get_logger(__name__)

_BATCH = 1000

# Due for longer than this, and no worker took a wake-up: the broker is gone, or all workers are.
_PATIENCE = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Due:
    """``work``: something can be claimed. ``neglected``: and for a while nobody has come for it."""

    work: bool
    neglected: bool


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
        async with self._engine.connect() as connection:
            since = await upkeep.oldest_due(connection)
            if since is None:
                return Due(work=False, neglected=False)
            waited = await reports.database_time(connection) - since
            served = await processes.consumed_within(connection, _PATIENCE)
            return Due(work=True, neglected=waited > _PATIENCE and not served)

    async def prune(self) -> None:
        """Deletes what is older than the retention, in pieces."""
        while True:
            async with self._engine.begin() as connection:
                pruned = await upkeep.prune(connection, retention=self._retention, limit=_BATCH)
            if pruned:
                log.info("pruned", dispositions=pruned)
            if pruned < _BATCH:
                return

    async def _expire(self) -> int:
        async with self._engine.begin() as connection:
            expired = await upkeep.expire(connection, limit=_BATCH)
        if expired:
            log.warning("expired", dispositions=expired)
        return expired
