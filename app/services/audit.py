"""The audit trail: who did what to which thing, when, from where, and why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from app.storage import audit
from app.storage.audit import Wanted

_CHUNK = 1000
_ALL = 1 << 62


@dataclass(frozen=True, slots=True)
class Lines:
    """A page of the trail, newest first. It may be short, even empty, and have a ``next``; None on the last."""

    items: Sequence[dict[str, Any]]
    next: int | None


class Audit:
    """Reads the trail."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(self, wanted: Wanted, *, after: int | None, limit: int) -> Lines:
        """A page of the lines that are wanted, behind the one with the number ``after``."""
        async with self._engine.connect() as connection:
            found = await audit.page(connection, wanted, under=after, limit=limit)
        return Lines([shown(row) for row in found.rows], found.next)

    async def all(
        self, wanted: Wanted, *, after: int | None = None, limit: int | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """All lines that are wanted, newest first, or up to ``limit`` of them; read in pieces, and no transaction is
        open in between."""
        left = _ALL if limit is None else limit
        while left:
            page = await self.page(wanted, after=after, limit=min(left, _CHUNK))
            for line in page.items:
                yield line
            left -= len(page.items)
            if page.next is None:
                return
            after = page.next


def shown(row: Row[Any]) -> dict[str, Any]:
    """A line as the API shows it."""
    return {
        "id": row.id,
        "at": row.at,
        "actor": row.actor,
        "action": row.action,
        "account": row.account,
        "disposition": row.disposition_id,
        "subject": row.subject,
        "from": row.from_state,
        "to": row.to_state,
        "reason": row.reason,
        "address": row.address,
    }
