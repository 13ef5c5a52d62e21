"""The stream: changes of state, read from the audit trail in the order of their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of the trail, ascending, and which transactions were under way when they were seen."""

    rows: Sequence[Row[Any]]
    oldest: int
    following: int


# In one statement, so that lines and transactions are of one moment.
_AFTER = text("""
    SELECT events.id, events.at, events.actor, events.action, accounts.customer AS account, events.disposition_id,
           events.subject, events.from_state, events.to_state, events.reason,
           pg_snapshot_xmin(pg_current_snapshot())::text AS oldest,
           pg_snapshot_xmax(pg_current_snapshot())::text AS following
    FROM events LEFT JOIN accounts ON accounts.id = events.account_id
    WHERE events.id > :after ORDER BY events.id LIMIT :limit
""")
_LATEST = text("SELECT id FROM events WHERE id > (SELECT max(id) FROM events) - :number ORDER BY id")


async def after(connection: AsyncConnection, number: int, *, limit: int) -> Batch:
    """Up to ``limit`` lines with numbers above ``number``."""
    rows = (await connection.execute(_AFTER, {"after": number, "limit": limit})).all()
    return Batch(rows, int(rows[0].oldest), int(rows[0].following)) if rows else Batch((), 0, 0)


async def latest(connection: AsyncConnection, number: int) -> list[int]:
    """The highest numbers that can be seen, ascending; within the last ``number`` of them."""
    return [*(await connection.scalars(_LATEST, {"number": number})).all()]
