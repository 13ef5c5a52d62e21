"""Processes: the heartbeats of those that deliver."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.tables import processes

_BEAT = text("""
    INSERT INTO processes AS p (id, kind, name, rate, consumed_at)
    VALUES (:id, :kind, :name, :rate, CASE WHEN :consumed THEN clock_timestamp() END)
    ON CONFLICT (id) DO UPDATE
        SET seen_at = clock_timestamp(), rate = excluded.rate,
            consumed_at = coalesce(excluded.consumed_at, p.consumed_at)
""")


async def beat(
    connection: AsyncConnection, process_id: UUID, *, kind: str, name: str, consumed: bool, rate: float = 0
) -> None:
    """Says that the process lives, whether it took a wake-up from the broker since the last beat, and its ``rate``:
    the attempts that it brings to their end, a second."""
    values = {"id": process_id, "kind": kind, "name": name, "consumed": consumed, "rate": rate}
    await connection.execute(_BEAT, values)


async def consumed_within(connection: AsyncConnection, span: timedelta) -> bool:
    """True if a worker took a wake-up from the broker within ``span``."""
    recent = processes.c.consumed_at > func.clock_timestamp() - span
    return bool(await connection.scalar(select(func.count()).where(recent)))


class Seen(NamedTuple):
    """A process that lives, and how many attempts it brings to their end, a second."""

    kind: str
    name: str
    at: datetime
    rate: float


async def seen(connection: AsyncConnection, span: timedelta) -> list[Seen]:
    """The processes that were seen within ``span``."""
    rows = await connection.execute(
        select(processes.c.kind, processes.c.name, processes.c.seen_at, processes.c.rate)
        .where(processes.c.seen_at > func.clock_timestamp() - span)
        .order_by(processes.c.kind, processes.c.name)
    )
    return [Seen(*row) for row in rows]
