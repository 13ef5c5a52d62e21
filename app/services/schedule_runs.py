"""Runs of schedules: what the scheduler does each second. Any number of schedulers may do it: each run happens once.

The row of the schedule is locked, and what came due, the replay that it makes and the next time are one transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.schedules import Overlap, Plan, RunState
from app.services.schedules import plan_of, start
from app.storage import events, reports
from app.storage import schedules as rows
from app.storage.engine import DATABASE_TROUBLE

log = structlog.get_logger(__name__)


class ScheduleRuns:
    """Runs what is due. Belongs to a scheduler."""

    def __init__(self, engine: AsyncEngine, *, name: str) -> None:
        self._engine = engine
        self._name = name

    async def tick(self) -> None:
        """Runs all that is due and that nobody else is at."""
        async with self._engine.connect() as connection:
            due = await rows.due(connection)
        for name in due:
            try:
                async with self._engine.begin() as connection:
                    row = await rows.try_lock(connection, name)
                    if row is not None:
                        await self._run(connection, row, await reports.database_time(connection))
            except DATABASE_TROUBLE as error:
                log.warning("a schedule has to wait", schedule=name, error=type(error).__name__)  # the others go on
            except Exception:
                log.exception("a schedule broke", schedule=name)

    async def _run(self, connection: AsyncConnection, row: Row[Any], now: datetime) -> None:
        queued = await rows.first_queued(connection, row.id)
        if queued is not None and await rows.sending(connection, row.id) is None:
            await rows.take_queued(connection, queued)
            await start(connection, row, queued.due_at, kind=queued.kind)
        if row.paused_at is not None or row.next_at is None or row.next_at > now:
            return
        plan = plan_of(row)
        times, following = _due_until(plan, row, now)
        missed = [time for time in times if now - time > plan.catch_up]
        if missed:
            await self._miss(connection, row, missed)
        for time in times[len(missed) :]:
            await self._due(connection, row, plan, time)
        await rows.change(connection, row.id, {"next_at": following})

    async def _due(self, connection: AsyncConnection, row: Row[Any], plan: Plan, time: datetime) -> None:
        earlier = await rows.sending(connection, row.id)
        if earlier is None:
            await start(connection, row, time, kind="due")
            return
        state = RunState.QUEUED if plan.overlap is Overlap.QUEUE else RunState.SKIPPED
        await rows.add_run(connection, row.id, time, state, note=f"replay {earlier} is still sending")
        log.warning("schedule overlaps", schedule=row.name, state=state.value, replay=str(earlier))

    async def _miss(self, connection: AsyncConnection, row: Row[Any], missed: list[datetime]) -> None:
        until = f"{len(missed)} missed, the last at {missed[-1].isoformat()}: nothing ran within the catch-up window"
        await rows.add_run(connection, row.id, missed[0], RunState.MISSED, n=len(missed), note=until)
        await events.tell(
            connection, actor=self._name, action="schedule missed", subject=f"schedule:{row.name}", reason=until
        )
        log.error("schedule missed", schedule=row.name, runs=len(missed))


def _due_until(plan: Plan, row: Row[Any], now: datetime) -> tuple[list[datetime], datetime | None]:
    """The times that have come, the first one first, and the one after them."""
    times = [row.next_at]
    for time in plan.recurrence(row.created_at).after(row.next_at):
        if time > now:
            return times, time
        times.append(time)
    return times, None
