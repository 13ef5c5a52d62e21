"""Upkeep: what the scheduler does to the tables. Every statement may run in several processes at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.lifecycle import EXPIRE, Cause
from app.storage import calls, replays, schedules
from app.storage.transitions import IS_WAITING, leaves

_FOLDING = 0x5752_4150_01  # one at a time: two folds would wait for each other's rows

_FOLD = text("""
    WITH gone AS (
        DELETE FROM count_deltas RETURNING at, account_id, kind, key, n
    ), total AS (
        INSERT INTO counts AS c (account_id, kind, key, n)
        SELECT account_id, kind, key, sum(n) FROM gone GROUP BY account_id, kind, key
        ON CONFLICT (account_id, kind, key) DO UPDATE SET n = c.n + excluded.n
    )
    INSERT INTO counts_by_minute AS c (minute, account_id, kind, key, n)
    SELECT date_trunc('minute', at), account_id, kind, key, sum(n) FROM gone WHERE n > 0
    GROUP BY 1, 2, 3, 4
    ON CONFLICT (minute, account_id, kind, key) DO UPDATE SET n = c.n + excluded.n
""")


# How much waits can't be told later from what came and went, so it is noted when a minute begins.
_NOTE_WAITING = text("""
    INSERT INTO counts_by_minute (minute, account_id, kind, key, n)
    SELECT date_trunc('minute', now()), account_id, 'waiting', 'all', sum(n) FROM counts
    WHERE kind = 'state' AND key IN ('queued', 'sending', 'retrying')
    GROUP BY account_id HAVING sum(n) > 0
    ON CONFLICT DO NOTHING
""")


async def fold_counts(connection: AsyncConnection) -> None:
    """Adds up what the triggers appended since the last time, and notes once a minute how much waits."""
    if await connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _FOLDING}):
        await connection.execute(_FOLD)
        await connection.execute(_NOTE_WAITING)


_EXPIRE = text(f"""
    WITH late AS MATERIALIZED (
        SELECT d.id, d.call_id FROM dispositions d
        WHERE d.{IS_WAITING} AND d.expires_at <= statement_timestamp()
        ORDER BY d.expires_at LIMIT :limit
    ), locked AS MATERIALIZED (
        SELECT id FROM calls WHERE id IN (SELECT call_id FROM late) AND lease_until IS NULL
        ORDER BY account_id, ucid FOR UPDATE SKIP LOCKED
    ), expired AS (
        UPDATE dispositions d
        SET state = '{EXPIRE.enters}', cause = '{Cause.EXPIRED}', finished_at = clock_timestamp(),
            next_attempt_at = NULL
        FROM late JOIN locked ON locked.id = late.call_id
        WHERE d.id = late.id AND d.state IN {leaves(EXPIRE)}
        RETURNING d.id, d.call_id, d.account_id, old.state AS from_state
    ), told AS (
        INSERT INTO events (actor, action, account_id, disposition_id, from_state, to_state, reason)
        SELECT 'scheduler', '{EXPIRE.action}', account_id, id, from_state, '{EXPIRE.enters}', '{Cause.EXPIRED}'
        FROM expired
    )
    SELECT call_id FROM expired
""")


async def expire(connection: AsyncConnection, *, limit: int) -> int:
    """Fails what waits beyond its maximum age, on hold or not; gives the number."""
    expired = (await connection.scalars(_EXPIRE, {"limit": limit})).all()
    if expired:
        await calls.let_go(connection, sorted(set(expired)))  # else they would seem to be due for ever
    return len(expired)


_DUE = text("""
    SELECT min(first.next_at)
    FROM accounts JOIN lanes ON lanes.account_id = accounts.id
    CROSS JOIN LATERAL (
        SELECT next_at FROM calls
        WHERE account_id = accounts.id AND lease_until IS NULL AND next_at <= statement_timestamp()
        ORDER BY next_at LIMIT 1) AS first
    WHERE hold_cause IS NULL AND (doubt IS NULL OR probe_at <= statement_timestamp())
""")


async def oldest_due(connection: AsyncConnection) -> datetime | None:
    """Since when the oldest call that could be claimed is due; None if nothing is."""
    return cast("datetime | None", await connection.scalar(_DUE))


# Under the locks of their calls, like all that changes a disposition: one that is sent again at this moment is not old
# any more, and what is looked at stays while it is. Whose call is locked is left for the next time. In steps: what was
# done before a lock came to us is seen by a statement that begins after it only.
# What a replay has sent is left until it is settled: what became of it has to be seen first.
_IS_DONE = """
    finished_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM replays WHERE replays.id = dispositions.replay_id AND settled_at IS NULL)"""
_OLD = text(f"""
    SELECT id, call_id FROM dispositions
    WHERE created_at < statement_timestamp() - CAST(:retention AS interval) AND {_IS_DONE}
    LIMIT :limit
""")
_LOCK_CALLS = text("""
    SELECT id FROM calls WHERE id = ANY(:calls) ORDER BY account_id, ucid FOR UPDATE SKIP LOCKED
""")
_PRUNE_DISPOSITIONS = text(f"""
    DELETE FROM dispositions WHERE id = ANY(:ids) AND call_id = ANY(:calls) AND {_IS_DONE}
""")
_PRUNE_CALLS = text("""
    DELETE FROM calls WHERE id = ANY(:calls) AND NOT EXISTS (SELECT FROM dispositions WHERE call_id = calls.id)
""")
_PRUNE_REST = (
    text("DELETE FROM counts_by_minute WHERE minute < statement_timestamp() - interval '8 days'"),
    text("DELETE FROM processes WHERE seen_at < statement_timestamp() - interval '1 hour'"),
)
# After the dispositions: no key may stand for a disposition that is gone.
_PRUNE_KEYS = text("""
    DELETE FROM idempotency_keys
    WHERE created_at < statement_timestamp() - least(interval '2 days', CAST(:retention AS interval))
""")
_PRUNE_EVENTS = text("""
    DELETE FROM events WHERE id IN (
        SELECT id FROM events WHERE at < statement_timestamp() - CAST(:retention AS interval) LIMIT :limit)
""")


async def prune(connection: AsyncConnection, *, retention: timedelta, limit: int) -> int:
    """Deletes what is older than ``retention`` and final, up to ``limit`` dispositions and as many events.

    Gives the larger of the two numbers, with those whose call is locked just now: less than ``limit`` says that no more
    is left.
    """
    for statement in _PRUNE_REST:
        await connection.execute(statement)
    told = await connection.execute(_PRUNE_EVENTS, {"retention": retention, "limit": limit})
    await replays.prune(connection, retention=retention)  # before the calls: a step locks its replay first, too
    old = (await connection.execute(_OLD, {"retention": retention, "limit": limit})).all()
    if old:
        calls_of_old = {"calls": sorted({row.call_id for row in old})}
        locked = {"calls": (await connection.scalars(_LOCK_CALLS, calls_of_old)).all()}
        await connection.execute(_PRUNE_DISPOSITIONS, {"ids": [row.id for row in old], **locked})
        await connection.execute(_PRUNE_CALLS, locked)
    await connection.execute(_PRUNE_KEYS, {"retention": retention})
    await schedules.prune(connection, retention=retention)
    return max(len(old), told.rowcount)
