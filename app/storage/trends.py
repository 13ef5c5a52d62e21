"""What was counted minute by minute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

# What is folded and what is not yet, as the counts are read (``reports.py``).
_BY_MINUTE = text("""
    SELECT minute, customer AS account, kind, key, sum(n)::bigint AS n
    FROM (
        SELECT minute, account_id, kind, key, n FROM counts_by_minute
        WHERE minute > date_trunc('minute', now()) - make_interval(mins => :minutes)
        UNION ALL
        SELECT date_trunc('minute', at), account_id, kind, key, n FROM count_deltas
        WHERE n > 0 AND at > date_trunc('minute', now()) - make_interval(mins => :minutes - 1)
    ) AS recent JOIN accounts ON accounts.id = account_id
    GROUP BY 1, 2, 3, 4
""")


async def by_minute(connection: AsyncConnection, *, minutes: int) -> Sequence[Row[Any]]:
    """What was counted in the last ``minutes``, the one under way included: by account, kind and key.

    Kinds are "state" (came into it), "attempt" (by outcome), "latency" (by the upper bound in ms) and "waiting" (how
    many were not final when the minute began; no row: none).
    """
    return (await connection.execute(_BY_MINUTE, {"minutes": minutes})).all()
