"""Reading: lists, one disposition with its history, the audit trail, the counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.lifecycle import WAITING, State
from app.storage.tables import accounts, attempts, calls, dispositions, events

_ON_HOLD = accounts.c.hold_cause.is_not(None)
_WAITING = dispositions.c.state.in_([state.value for state in WAITING])

# A disposition with the account's name, and whether it is on hold, in place of our numbers.
_DISPOSITIONS = select(dispositions, accounts.c.customer.label("account"), _ON_HOLD.label("on_hold")).join_from(
    dispositions, accounts, dispositions.c.account_id == accounts.c.id
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dispositions. Several values of one field are alternatives, several fields all apply; empty: any."""

    states: Sequence[State] = ()
    causes: Sequence[str] = ()
    accounts: Sequence[str] = ()
    ucids: Sequence[str] = ()
    agent_ids: Sequence[str] = ()
    dids: Sequence[str] = ()
    dispositions: Sequence[str] = ()
    sources: Sequence[str] = ()
    references: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    only_accounts: frozenset[str] = field(default_factory=frozenset)  # of a bound key


@dataclass(frozen=True, slots=True)
class History:
    """A disposition's row with its attempts and events, oldest first."""

    disposition: Row[Any]
    attempts: Sequence[Row[Any]]
    events: Sequence[Row[Any]]


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.states:
        conditions.append(or_(*(_in_state(state) for state in wanted.states)))
    columns: Mapping[ColumnElement[Any], Sequence[str]] = {
        dispositions.c.cause: wanted.causes,
        accounts.c.customer: wanted.accounts,
        dispositions.c.agent_id: wanted.agent_ids,
        dispositions.c.did: wanted.dids,
        dispositions.c.disposition: wanted.dispositions,
        dispositions.c.source: wanted.sources,
        dispositions.c.reference: wanted.references,
    }
    conditions += [column.in_(values) for column, values in columns.items() if values]
    if wanted.ucids:
        conditions.append(dispositions.c.call_id.in_(select(calls.c.id).where(calls.c.ucid.in_(wanted.ucids))))
    if wanted.since:
        conditions.append(dispositions.c.created_at >= wanted.since)
    if wanted.until:
        conditions.append(dispositions.c.created_at < wanted.until)
    if wanted.only_accounts:
        conditions.append(accounts.c.customer.in_(wanted.only_accounts))
    return conditions


def _in_state(state: State) -> ColumnElement[bool]:
    """The state as people see it: waiting and on hold is held."""
    if state is State.HELD:
        return and_(_WAITING, _ON_HOLD)
    if state in WAITING:
        return and_(dispositions.c.state == state.value, ~_ON_HOLD)
    return dispositions.c.state == state.value


async def page(connection: AsyncConnection, wanted: Filter, *, after: UUID | None, limit: int) -> Sequence[Row[Any]]:
    """Up to ``limit`` dispositions, newest first, those before ``after`` only (ids are in the order of arrival)."""
    query = _DISPOSITIONS.where(*_conditions(wanted)).order_by(dispositions.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(dispositions.c.id < after)
    return (await connection.execute(query)).all()


async def history(connection: AsyncConnection, disposition_id: UUID) -> History | None:
    """One disposition with all that happened to it, or None."""
    found = await _histories(connection, _DISPOSITIONS.where(dispositions.c.id == disposition_id))
    return found[0] if found else None


async def export(connection: AsyncConnection, wanted: Filter, *, chunk: int = 500) -> AsyncIterator[History]:
    """Every disposition that the filter takes, oldest first, each with its history; ``chunk`` at a time."""
    after: UUID | None = None
    while True:
        query = _DISPOSITIONS.where(*_conditions(wanted)).order_by(dispositions.c.id).limit(chunk)
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
    return [History(row, tried[row.id], told[row.id]) for row in rows]


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
    FROM accounts CROSS JOIN LATERAL (
        SELECT next_at FROM calls
        WHERE account_id = accounts.id AND lease_until IS NULL AND next_at <= statement_timestamp()
        ORDER BY next_at LIMIT 1) AS first
    WHERE hold_cause IS NULL
""")


async def counts(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """How many, by account, kind ("state", "attempt", "latency", "latency_ms") and key."""
    return (await connection.execute(_COUNTS)).all()


async def arrivals_in_states(connection: AsyncConnection, *, minutes: int) -> Sequence[Row[Any]]:
    """How many dispositions came into each state within the last ``minutes``, by account."""
    return (await connection.execute(_RATES, {"minutes": minutes})).all()


async def oldest_due_ages(connection: AsyncConnection) -> dict[str, float]:
    """For each account with something due: for how many seconds the oldest has been.

    What is on hold waits for a person, and is not due.
    """
    return {row.account: row.age_seconds for row in await connection.execute(_OLDEST_WAITING)}


async def database_time(connection: AsyncConnection) -> datetime:
    """The clock that all times in the tables are of."""
    return cast(datetime, await connection.scalar(select(func.clock_timestamp())))
