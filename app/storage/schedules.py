"""Schedules and their runs. Who acts on a schedule holds its row, so that each run happens once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, delete, func, insert, literal, select, text, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.replays import ReplayState
from app.domain.schedules import RunState
from app.storage.tables import replays, schedule_runs, schedules


async def create(connection: AsyncConnection, values: Mapping[str, Any]) -> Row[Any]:
    """Writes a schedule; raises ``IntegrityError`` if there is one of that name."""
    made: Row[Any] = (await connection.execute(insert(schedules).values(**values).returning(schedules))).one()
    return made


async def change(connection: AsyncConnection, schedule_id: UUID, values: Mapping[str, Any]) -> Row[Any]:
    """Writes columns of a locked schedule; gives it as it is then."""
    query = update(schedules).where(schedules.c.id == schedule_id).values(**values).returning(schedules)
    changed: Row[Any] = (await connection.execute(query)).one()
    return changed


async def remove(connection: AsyncConnection, schedule_id: UUID) -> None:
    """Deletes a schedule with the history of its runs; the replays that it made stay."""
    await connection.execute(delete(schedules).where(schedules.c.id == schedule_id))


async def read(connection: AsyncConnection, name: str) -> Row[Any] | None:
    """A schedule by its name, or None."""
    return (await connection.execute(select(schedules).where(schedules.c.name == name))).one_or_none()


async def lock(connection: AsyncConnection, name: str) -> Row[Any] | None:
    """A schedule on which nobody else acts until the transaction ends, or None."""
    query = select(schedules).where(schedules.c.name == name).with_for_update()
    return (await connection.execute(query)).one_or_none()


async def read_all(connection: AsyncConnection, only_accounts: frozenset[str]) -> Sequence[Row[Any]]:
    """Schedules by name; of a bound key those within its accounts."""
    query = select(schedules).order_by(schedules.c.name)
    if only_accounts:
        bound = schedules.c.accounts
        query = query.where(func.cardinality(bound) > 0, bound.op("<@")(literal(sorted(only_accounts), bound.type)))
    return (await connection.execute(query)).all()


_DUE = text(f"""
    SELECT name FROM schedules
    WHERE paused_at IS NULL AND next_at <= statement_timestamp()
       OR EXISTS (SELECT FROM schedule_runs run WHERE run.schedule_id = schedules.id AND state = '{RunState.QUEUED}')
    ORDER BY next_at
""")


async def due(connection: AsyncConnection) -> Sequence[str]:
    """The names of schedules that are due, or have runs that wait for the one before."""
    return (await connection.scalars(_DUE)).all()


async def try_lock(connection: AsyncConnection, name: str) -> Row[Any] | None:
    """A schedule to act on; None if somebody else acts on it right now."""
    query = select(schedules).where(schedules.c.name == name).with_for_update(skip_locked=True)
    return (await connection.execute(query)).one_or_none()


async def add_run(
    connection: AsyncConnection,
    schedule_id: UUID,
    due_at: datetime,
    state: RunState,
    *,
    kind: str = "due",
    n: int = 1,
    note: str | None = None,
    replay_id: UUID | None = None,
) -> bool:
    """Adds a run to the history; False if that time has had its run before."""
    run = upsert(schedule_runs).values(
        schedule_id=schedule_id, due_at=due_at, kind=kind, state=state, n=n, note=note, replay_id=replay_id
    )
    added = run.on_conflict_do_nothing().returning(schedule_runs.c.schedule_id)
    return await connection.scalar(added) is not None


async def first_queued(connection: AsyncConnection, schedule_id: UUID) -> Row[Any] | None:
    """The run that waits for the longest, or None."""
    query = (
        select(schedule_runs)
        .where(schedule_runs.c.schedule_id == schedule_id, schedule_runs.c.state == RunState.QUEUED)
        .order_by(schedule_runs.c.due_at, schedule_runs.c.kind)
        .limit(1)
    )
    return (await connection.execute(query)).one_or_none()


async def take_queued(connection: AsyncConnection, run: Row[Any]) -> None:
    """Takes a run that waited out of the history: it is about to have its place anew."""
    await connection.execute(delete(schedule_runs).where(*_is(dict(run._mapping))))


async def end_run(connection: AsyncConnection, run: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Writes what became of a run (its ``schedule_id``, ``due_at`` and ``kind``)."""
    await connection.execute(update(schedule_runs).where(*_is(run)).values(**values))


def _is(run: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    return [schedule_runs.c[name] == run[name] for name in ("schedule_id", "due_at", "kind")]


async def sending(connection: AsyncConnection, schedule_id: UUID) -> UUID | None:
    """The replay of a schedule that is still sending, or None."""
    query = select(replays.c.id).where(
        replays.c.schedule_id == schedule_id, replays.c.state == ReplayState.RUNNING.value
    )
    found: UUID | None = await connection.scalar(query.limit(1))
    return found


async def runs(connection: AsyncConnection, schedule_id: UUID, *, limit: int) -> Sequence[Row[Any]]:
    """The last runs, newest first."""
    query = select(schedule_runs).where(schedule_runs.c.schedule_id == schedule_id)
    return (await connection.execute(query.order_by(schedule_runs.c.due_at.desc()).limit(limit))).all()


async def last_runs(connection: AsyncConnection, schedule_ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """The last run of each schedule that had one, and how many of all in its history were ``missed``."""
    run = schedule_runs.c
    missed = func.sum(run.n).filter(run.state == RunState.MISSED).over(partition_by=run.schedule_id)
    query = select(schedule_runs, func.coalesce(missed, 0).label("missed"))
    query = query.where(run.schedule_id.in_(schedule_ids)).ext(distinct_on(run.schedule_id))
    return (await connection.execute(query.order_by(run.schedule_id, run.due_at.desc()))).all()


async def count_runs(connection: AsyncConnection) -> dict[str, int]:
    """How many runs came to which state, of all schedules there are."""
    query = select(schedule_runs.c.state, func.sum(schedule_runs.c.n).label("n")).group_by(schedule_runs.c.state)
    return {row.state: int(row.n) for row in await connection.execute(query)}


_PRUNE = text("DELETE FROM schedule_runs WHERE at < statement_timestamp() - CAST(:retention AS interval)")


async def prune(connection: AsyncConnection, *, retention: timedelta) -> None:
    """Deletes the history that is older than ``retention``."""
    await connection.execute(_PRUNE, {"retention": retention})
