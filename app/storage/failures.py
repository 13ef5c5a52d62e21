"""Failures: what failed, in groups of what one correction mends.

The triggers put each disposition that fails into its group and take it out when it leaves that state, whoever writes
it; what they changed lies in ``failure_deltas`` until the scheduler folds it (``app/storage/upkeep.py``). Readers add
up both, so an answer is right at any moment (``docs/decisions/0011-failures-are-kept-in-groups.md``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_FOLDING = 0x5752_4150_02  # one at a time, whoever writes failures: else two would wait for each other's rows

# What left a group that nobody came into. The others may be new, and both must not touch one row.
_FOLD = text("""
    WITH gone AS (
        DELETE FROM failure_deltas RETURNING *
    ), change AS MATERIALIZED (
        SELECT failure_id, max(account_id) AS account_id, max(cause) AS cause, max(thing) AS thing, max(value) AS value,
               sum(n) AS n, min(first_at) AS first_at, max(last_at) AS last_at,
               (array_agg(DISTINCT source) FILTER (WHERE source IS NOT NULL))[1:20] AS sources
        FROM gone GROUP BY failure_id
    ), lessened AS (
        UPDATE failures f SET n = f.n + change.n FROM change WHERE f.id = change.failure_id AND change.last_at IS NULL
    )
    INSERT INTO failures AS f (id, account_id, cause, thing, value, n, since, last_at, sources)
    SELECT failure_id, account_id, cause, thing, value, n, first_at, last_at, coalesce(sources, '{}')
    FROM change WHERE last_at IS NOT NULL
    ON CONFLICT (id) DO UPDATE SET
        n = f.n + excluded.n,
        since = CASE WHEN f.n > 0 THEN f.since ELSE excluded.since END,
        last_at = greatest(f.last_at, excluded.last_at),
        sources = (ARRAY(SELECT unnest(excluded.sources)
                         UNION SELECT unnest(f.sources) WHERE f.n > 0 ORDER BY 1))[1:20],
        acknowledged_at = CASE WHEN excluded.last_at > f.acknowledged_at THEN NULL ELSE f.acknowledged_at END
""")


async def fold(connection: AsyncConnection, *, wait: bool = False) -> None:
    """Adds up what the triggers appended since the last time. ``wait``: for another fold that is under way."""
    lock = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
    if await connection.scalar(text(f"SELECT {lock}(:lock)"), {"lock": _FOLDING}) is not False:
        await connection.execute(_FOLD)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which failures; empty: any. ``accounts`` of a bound key are ``only_accounts``."""

    ids: Sequence[UUID] = ()
    accounts: Sequence[str] = ()
    causes: Sequence[str] = ()
    acknowledged: bool | None = None
    only_accounts: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Failure:
    """A group: what is wrong with its dispositions, how many they are, and what is known of them.

    ``sample`` is the newest of them, ``reply`` CloudAgent's words to it. ``sources``: who sent them, the first twenty.
    """

    id: UUID
    account: str
    cause: str
    thing: str
    value: str
    count: int
    since: datetime
    last_at: datetime
    sources: Sequence[str]
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None
    sample: UUID | None
    reply: str | None
    total: int  # of all that are wanted


_READ = text("""
    WITH unfolded AS (
        SELECT failure_id AS id, max(account_id) AS account_id, max(cause) AS cause, max(thing) AS thing,
               max(value) AS value, sum(n) AS n, min(first_at) AS first_at, max(last_at) AS last_at,
               (array_agg(DISTINCT source) FILTER (WHERE source IS NOT NULL))[1:20] AS sources
        FROM failure_deltas GROUP BY failure_id
    ), known AS (
        SELECT id, coalesce(f.account_id, u.account_id) AS account_id, coalesce(f.cause, u.cause) AS cause,
               coalesce(f.thing, u.thing) AS thing, coalesce(f.value, u.value) AS value,
               coalesce(f.n, 0) + coalesce(u.n, 0) AS n,
               CASE WHEN f.n > 0 THEN f.since ELSE coalesce(u.first_at, f.since) END AS since,
               greatest(f.last_at, u.last_at) AS last_at,
               (ARRAY(SELECT unnest(f.sources) WHERE f.n > 0 UNION SELECT unnest(u.sources) ORDER BY 1))[1:20]
                   AS sources,
               CASE WHEN u.last_at > f.acknowledged_at THEN NULL ELSE f.acknowledged_at END AS acknowledged_at,
               f.acknowledged_by, f.note
        FROM failures f FULL JOIN unfolded u USING (id)
    ), wanted AS (
        SELECT known.*, accounts.customer AS account, count(*) OVER () AS total
        FROM known JOIN accounts ON accounts.id = known.account_id
        WHERE n > 0
          AND (CAST(:ids AS uuid[]) IS NULL OR known.id = ANY(:ids))
          AND (CAST(:accounts AS text[]) IS NULL OR accounts.customer = ANY(:accounts))
          AND (CAST(:causes AS text[]) IS NULL OR cause = ANY(:causes))
          AND (CAST(:acknowledged AS bool) IS NULL OR :acknowledged = (acknowledged_at IS NOT NULL))
          AND (CAST(:only_accounts AS text[]) IS NULL OR accounts.customer = ANY(:only_accounts))
        ORDER BY acknowledged_at IS NOT NULL, n DESC, known.id LIMIT :limit
    )
    SELECT wanted.id, account, cause, thing, value, n::bigint AS count, since, last_at, sources, acknowledged_at,
           acknowledged_by, note, sample.disposition_id AS sample, said.reply_details AS reply, total
    FROM wanted
    LEFT JOIN LATERAL (
        SELECT disposition_id FROM failure_members WHERE failure_id = wanted.id ORDER BY disposition_id DESC LIMIT 1
    ) AS sample ON true
    LEFT JOIN LATERAL (
        SELECT reply_details FROM attempts WHERE disposition_id = sample.disposition_id ORDER BY number DESC LIMIT 1
    ) AS said ON true
    ORDER BY acknowledged_at IS NOT NULL, n DESC, wanted.id
""")


async def read(connection: AsyncConnection, wanted: Wanted, *, limit: int) -> list[Failure]:
    """Up to ``limit`` failures: those that nobody has acknowledged first, and of these the largest."""
    values = {
        "ids": list(wanted.ids) or None,
        "accounts": list(wanted.accounts) or None,
        "causes": list(wanted.causes) or None,
        "acknowledged": wanted.acknowledged,
        "only_accounts": sorted(wanted.only_accounts) or None,
        "limit": limit,
    }
    return [Failure(*row) for row in await connection.execute(_READ, values)]


_OF = text("SELECT failure_id FROM failure_members WHERE disposition_id = :id")


async def of_disposition(connection: AsyncConnection, disposition_id: UUID) -> UUID | None:
    """The failure that a disposition is one of; None if it has not failed, or was corrected."""
    return (await connection.scalars(_OF, {"id": disposition_id})).one_or_none()


_ACKNOWLEDGE = text("""
    UPDATE failures SET acknowledged_at = clock_timestamp(), acknowledged_by = :actor, note = :note
    WHERE id = :id AND n > 0 RETURNING account_id
""")

_REOPEN = text("""
    UPDATE failures SET acknowledged_at = NULL WHERE id = :id AND n > 0 AND acknowledged_at IS NOT NULL
    RETURNING account_id
""")


async def acknowledge(connection: AsyncConnection, failure_id: UUID, *, actor: str, note: str | None) -> int | None:
    """Marks a failure as known until it comes back; gives its account, None if there is no such failure any more."""
    await fold(connection, wait=True)  # it may be so young that only deltas tell of it
    values = {"id": failure_id, "actor": actor, "note": note}
    return (await connection.scalars(_ACKNOWLEDGE, values)).one_or_none()


async def reopen(connection: AsyncConnection, failure_id: UUID) -> int | None:
    """Takes the mark off; gives the failure's account, None if it bears none, or is not there any more."""
    await fold(connection, wait=True)  # a fold locks them in any order, so nobody else may lock several meanwhile
    return (await connection.scalars(_REOPEN, {"id": failure_id})).one_or_none()
