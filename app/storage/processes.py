"""Processes: the heartbeats of those that deliver."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.tables import processes

_BEAT = text("""
    INSERT INTO processes AS p (id, kind, name, consumed_at)
    VALUES (:id, :kind, :name, CASE WHEN :consumed THEN clock_timestamp() END)
    ON CONFLICT (id) DO UPDATE
        SET seen_at = clock_timestamp(), consumed_at = coalesce(excluded.consumed_at, p.consumed_at)
""")


async def beat(connection: AsyncConnection, process_id: UUID, *, kind: str, name: str, consumed: bool) -> None:
    """Says that the process lives, and whether it took a wake-up from the broker since the last beat."""
    await connection.execute(_BEAT, {"id": process_id, "kind": kind, "name": name, "consumed": consumed})


async def consumed_within(connection: AsyncConnection, span: timedelta) -> bool:
    """True if a worker took a wake-up from the broker within ``span``."""
    recent = processes.c.consumed_at > func.clock_timestamp() - span
    return bool(await connection.scalar(select(func.count()).where(recent)))


async def seen(connection: AsyncConnection, span: timedelta) -> list[tuple[str, str, datetime]]:
    """The processes that were seen within ``span``: kind, name, when."""
    rows = await connection.execute(
        select(processes.c.kind, processes.c.name, processes.c.seen_at)
        .where(processes.c.seen_at > func.clock_timestamp() - span)
        .order_by(processes.c.kind, processes.c.name)
    )
    return [(row.kind, row.name, row.seen_at) for row in rows]
