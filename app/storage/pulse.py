"""A mark that differs whenever something has changed that people look at."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# What people and workers did, and the attempts, which leave no event: both cost the same at any size.
_MARK = text("""
    SELECT coalesce((SELECT max(id) FROM events), 0) || '-' ||
           coalesce((SELECT sum(n) FROM counts WHERE kind = 'attempt'), 0) || '-' ||
           coalesce((SELECT sum(abs(n)) FROM count_deltas), 0)
""")


async def mark(connection: AsyncConnection) -> str:
    """The mark as it is now."""
    return str(await connection.scalar(_MARK))
