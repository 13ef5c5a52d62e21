"""Reading: one disposition with its history, the audit trail, the counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Row, Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.filters import Filter
from app.storage.filters import ON_HOLD, narrowed
from app.storage.tables import accounts, attempts, calls, dispositions, events

# A disposition with the account's name, and whether it is on hold, in place of our numbers.
DISPOSITIONS = select(dispositions, accounts.c.customer.label("account"), ON_HOLD.label("on_hold")).join_from(
    dispositions, accounts, dispositions.c.account_id == accounts.c.id
)


@dataclass(frozen=True, slots=True)
class History:
    """A disposition's row with its attempts and events, oldest first, and the newest that was made of it."""

    disposition: Row[Any]
    attempts: Sequence[Row[Any]]
    events: Sequence[Row[Any]]
    resent_as: UUID | None


async def history(connection: AsyncConnection, disposition_id: UUID) -> History | None:
    """One disposition with all that happened to it, or None."""
    found = await _histories(connection, DISPOSITIONS.where(dispositions.c.id == disposition_id))
    return found[0] if found else None


async def export(connection: AsyncConnection, wanted: Filter, *, chunk: int = 500) -> AsyncIterator[History]:
    """Every disposition that the filter takes, oldest first, each with its history; ``chunk`` at a time."""
    after: UUID | None = None
    while True:
        query = narrowed(DISPOSITIONS, wanted).order_by(dispositions.c.id).limit(chunk)
        if after is not None:
            query = query.where(dispositions.c.id > after)
        found = await _histories(connection, query)
        for one in found:
            yield one
        if len(found) < chunk:
            return
        after = found[-1].disposition.id


async def _histories(connection: AsyncConnection, query: Select[Any]) -> list[History]:
    rows = (await connection.execute(query)).all()
    ids = [row.id for row in rows]
    tried: dict[UUID, list[Row[Any]]] = {one: [] for one in ids}
    told: dict[UUID, list[Row[Any]]] = {one: [] for one in ids}
    for attempt in await connection.execute(
        select(attempts).where(attempts.c.disposition_id.in_(ids)).order_by(attempts.c.number)
    ):
        tried[attempt.disposition_id].append(attempt)
    for event in await connection.execute(select(events).where(events.c.disposition_id.in_(ids)).order_by(events.c.id)):
        told[event.disposition_id].append(event)
    made = select(dispositions.c.resent_from, dispositions.c.id).where(dispositions.c.resent_from.in_(ids))
    resent = {row.resent_from: row.id for row in await connection.execute(made.order_by(dispositions.c.id))}
    return [History(row, tried[row.id], told[row.id], resent.get(row.id)) for row in rows]


# What is folded and what is not yet, together: right at any moment, and as cheap at five million rows as at five.
_COUNTS = text("""
    SELECT accounts.customer AS account, accounts.hold_cause IS NOT NULL AS on_hold, kind, key, sum(n)::bigint AS n
    FROM (SELECT account_id, kind, key, n FROM counts
          UNION ALL SELECT account_id, kind, key, n FROM count_deltas) AS all_counts
    JOIN accounts ON accounts.id = all_counts.account_id
    GROUP BY 1, 2, 3, 4 HAVING sum(n) <> 0
""")

_RATES = text("""
    SELECT customer AS account, key, sum(n)::bigint AS n
    FROM (
        SELECT account_id, key, n FROM counts_by_minute
        WHERE kind = 'state' AND minute >= date_trunc('minute', now()) - make_interval(mins => :minutes - 1)
        UNION ALL
        SELECT account_id, key, n FROM count_deltas WHERE kind = 'state' AND n > 0
    ) AS recent JOIN accounts ON accounts.id = account_id
    GROUP BY 1, 2
""")

_OLDEST_WAITING = text("""
    SELECT customer AS account, extract(epoch FROM clock_timestamp() - first.next_at)::float8 AS age_seconds
    FROM accounts JOIN lanes ON lanes.account_id = accounts.id
    CROSS JOIN LATERAL (
        SELECT next_at FROM calls
        WHERE account_id = accounts.id AND lease_until IS NULL AND next_at <= statement_timestamp()
        ORDER BY next_at LIMIT 1) AS first
    WHERE hold_cause IS NULL AND doubt IS NULL
""")

_TROUBLE = text("""
    SELECT 'hold' AS kind, hold_cause AS why, count(*) AS n FROM accounts WHERE hold_cause IS NOT NULL GROUP BY 2
    UNION ALL
    SELECT 'doubt', doubt, count(*) FROM lanes JOIN accounts ON accounts.id = account_id
    WHERE doubt IS NOT NULL AND hold_cause IS NULL GROUP BY 2
""")


async def counts(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """How many, by account, kind ("state", "attempt", "latency", "latency_ms") and key."""
    return (await connection.execute(_COUNTS)).all()


async def arrivals_in_states(connection: AsyncConnection, *, minutes: int) -> Sequence[Row[Any]]:
    """How many dispositions came into each state within the last ``minutes``, by account."""
    return (await connection.execute(_RATES, {"minutes": minutes})).all()


async def oldest_due_ages(connection: AsyncConnection) -> dict[str, float]:
    """For each account with something due: for how many seconds the oldest has been.

    What is on hold waits for a person, what is in doubt for its probe: neither is due, and no more workers would help.
    """
    return {row.account: row.age_seconds for row in await connection.execute(_OLDEST_WAITING)}


async def accounts_in_trouble(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """How many accounts are on hold and in doubt: kind ("hold", "doubt"), why, n."""
    return (await connection.execute(_TROUBLE)).all()


async def after_unknown_at(connection: AsyncConnection, account: str, ucid: str) -> datetime | None:
    """When the call was flagged: what CloudAgent got last for it, nobody knows."""
    query = (
        select(calls.c.after_unknown_at)
        .join_from(calls, accounts, calls.c.account_id == accounts.c.id)
        .where(accounts.c.customer == account, calls.c.ucid == ucid)
    )
    return cast("datetime | None", await connection.scalar(query))


async def database_time(connection: AsyncConnection) -> datetime:
    """The clock that all times in the tables are of."""
    return cast(datetime, await connection.scalar(select(func.clock_timestamp())))
