"""Calls: the lease. Claiming what is due, and taking back what a dead worker held.

A call is claimed, not a disposition: two dispositions of one call are never under way at once. ``epoch`` grows with
each claim, and only who knows the current one may finish.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.callback_time import LateCallback
from app.domain.lifecycle import DELIVER, SEND, SUPERSEDE
from app.domain.replies import Certainty, Outcome
from app.storage.lanes import PACE, RECENT
from app.storage.transitions import IS_WAITING, leaves


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed disposition with all that its one call to CloudAgent needs, its attempt row committed."""

    call_id: int
    epoch: int
    lease_until: datetime
    disposition_id: UUID
    attempt_id: UUID
    attempt_number: int
    tries: int
    created_at: datetime
    started_at: datetime
    expires_at: datetime
    account_id: int
    ucid: str
    did: str
    agent_id: str
    disposition: str
    comments: str | None
    callback_time: datetime | None
    callback_time_zone: str | None
    callback_format: str | None  # set once the account's format was refused
    pause_after_dispose: bool
    pause_reason: str | None
    customer: str
    api_key: str  # a Fernet token
    base_url: str
    path: str | None
    api: str
    account_format: str  # the call-back format that the account takes, as far as is known
    account_revision: int
    late_callback: str  # what becomes of it once its call-back time has passed (app/domain/callback_time.py)
    reviewed: bool  # it was held back for that, and somebody has sent it again
    watched: bool  # the end of this call says something about its lane, however it ends
    after_unknown: bool  # an older disposition of the call may be on its way still, or have arrived: nobody knows
    after_token_expired: bool  # the attempt before this one was refused for its token


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim brought.

    ``full``: the accounts that took all they were given, and those that were left to others: they may have more.
    ``opens_in``: seconds until the first lane opens that only the clock keeps closed (its pace, or the pause before a
    probe) while something is due.
    """

    deliveries: Sequence[Delivery]
    full: frozenset[int]
    opens_in: float | None


_PACED = f"CROSS JOIN LATERAL (SELECT {PACE} AS pace) AS paced"

# How many calls an account has room for. A lane in doubt has room for one, the probe, when it is time for it. NULL is
# no limit to ``least``. GCRA: a lane may run ahead of its pace by one second's worth, or by one call if its pace is
# slower than that.
_ROOM = """least(
    CASE WHEN doubt IS NULL THEN max_in_flight ELSE (probe_at <= statement_timestamp())::int END
        - (SELECT count(*) FROM calls WHERE account_id = accounts.id AND lease_until IS NOT NULL),
    CASE WHEN pace IS NOT NULL THEN
        floor(greatest(1, pace) + 1e-9
              - pace * extract(epoch FROM greatest(paced_until, statement_timestamp()) - statement_timestamp()))
    END)"""

# Seconds until there is room again by the clock: by the pace, or for the next probe. NULL, or less than nothing, if it
# is not the clock that the lane waits for.
_OPENS_IN = """extract(epoch FROM greatest(
    CASE WHEN doubt IS NOT NULL THEN probe_at END,
    CASE WHEN pace IS NOT NULL THEN paced_until - make_interval(secs => (greatest(1, pace) - 1) / pace) END
) - statement_timestamp())::float8"""

_MANY_LANES = 8

# What is due is looked up as the first of an order, so that the index of what is due is read: for EXISTS the planner
# may take any index on the way to the first of what it thinks are many, and read all that was ever delivered.
_DUE = f"""
    WITH due AS MATERIALIZED (
        SELECT lanes.account_id, served_at, {_ROOM} AS room, {_OPENS_IN} AS opens_in
        FROM lanes JOIN accounts ON accounts.id = lanes.account_id {_PACED}
        WHERE hold_cause IS NULL AND lanes.account_id <> ALL(CAST(:passing_over AS int[]))
          AND (SELECT next_at FROM calls
               WHERE account_id = lanes.account_id AND lease_until IS NULL AND next_at IS NOT NULL
               ORDER BY next_at LIMIT 1) <= statement_timestamp()
    )"""

# The least recently served accounts first. Of many half are left to who claims at the same time, so that neither waits.
# Accounts at their limits are passed over: they must not use up the room of the others. One that was served since the
# look at what is due has had its turn.
_LOCK_LANES = text(f"""
    {_DUE}, locked AS MATERIALIZED (
        SELECT account_id FROM due JOIN lanes USING (account_id)
        WHERE room >= 1 AND lanes.served_at = due.served_at
        ORDER BY due.served_at
        LIMIT least(:room, (SELECT CASE WHEN count(*) < {_MANY_LANES} THEN count(*) ELSE (count(*) + 1) / 2 END
                            FROM due WHERE room >= 1))
        FOR UPDATE OF lanes SKIP LOCKED
    )
    SELECT account_id, room >= 1 AS open, opens_in, locked.account_id IS NOT NULL AS locked
    FROM due LEFT JOIN locked USING (account_id)
""")

# When others have them all. One only, so that nobody waits for somebody who waits.
_WAIT_FOR_LANE = text(f"""
    {_DUE}
    SELECT account_id FROM lanes
    WHERE account_id = (SELECT account_id FROM due WHERE room >= 1 ORDER BY served_at LIMIT 1)
    FOR UPDATE
""")

# A statement of its own, so that it sees what was committed while the lanes' locks were waited for: other workers'
# leases, and a hold.
_LEASE = text(f"""
    WITH lane AS MATERIALIZED (
        SELECT lanes.account_id, pace, greatest(least(share, {_ROOM}), 0)::int AS room
        FROM unnest(CAST(:accounts AS int[]), CAST(:shares AS int[])) AS shared(account_id, share)
        JOIN lanes USING (account_id) JOIN accounts ON accounts.id = lanes.account_id {_PACED}
        WHERE hold_cause IS NULL
    ), due AS MATERIALIZED (
        SELECT call.id, lane.account_id
        FROM lane CROSS JOIN LATERAL (
            SELECT id FROM calls
            WHERE account_id = lane.account_id AND lease_until IS NULL AND next_at <= statement_timestamp()
            ORDER BY next_at LIMIT lane.room
            FOR UPDATE SKIP LOCKED
        ) AS call
    ), leased AS (
        UPDATE calls SET epoch = epoch + 1, lease_until = clock_timestamp() + :lease, next_at = NULL
        FROM due WHERE calls.id = due.id
        RETURNING calls.id, calls.epoch, calls.lease_until, calls.account_id
    ), served AS (
        UPDATE lanes
        SET served_at = statement_timestamp(),
            recent = {RECENT} + taken.n,
            paced_until = CASE WHEN pace IS NULL THEN paced_until ELSE
                greatest(paced_until, statement_timestamp()) + make_interval(secs => taken.n / pace) END
        FROM lane CROSS JOIN LATERAL (SELECT count(*) AS n FROM due WHERE due.account_id = lane.account_id) AS taken
        WHERE lanes.account_id = lane.account_id
        RETURNING lanes.account_id, {_OPENS_IN} AS opens_in
    )
    SELECT id, epoch, lease_until, account_id, opens_in FROM leased JOIN served USING (account_id)
""")

assert SEND.leaves == SUPERSEDE.leaves  # so one look at what waits serves both

# The newest waiting disposition of each leased call goes, the older ones are superseded. One that is older than what
# was ever sent for its call is superseded as well, however it came to be waiting. What is not due yet or has expired
# is left where it is. ``OFFSET 0`` and the equality keep the planner to the rows of these calls: with old statistics it
# would rather go by the partial index of all that waits, and read 100,000 rows for each claim.
_SEND = text(f"""
    WITH leased AS (
        SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:epochs AS int[]), CAST(:leases AS timestamptz[]))
             AS lease(call_id, epoch, lease_until)
    ), waiting AS MATERIALIZED (
        SELECT d.id, d.state, leased.call_id, d.seq, leased.epoch, leased.lease_until, calls.started_seq,
               first_value(d.id) OVER newest_first AS newest_id,
               row_number() OVER newest_first AS age
        FROM leased JOIN calls ON calls.id = leased.call_id
        CROSS JOIN LATERAL (SELECT id, state, seq FROM dispositions WHERE call_id = leased.call_id OFFSET 0) AS d
        WHERE d.state IN {leaves(SEND)}
        WINDOW newest_first AS (PARTITION BY leased.call_id ORDER BY d.seq DESC)
    ), outdated AS (
        UPDATE dispositions d
        SET state = '{SUPERSEDE.enters}', finished_at = clock_timestamp(), next_attempt_at = NULL,
            superseded_by = CASE WHEN waiting.seq < waiting.started_seq
                THEN (SELECT newer.id FROM dispositions newer
                      WHERE newer.call_id = waiting.call_id AND newer.seq = waiting.started_seq)
                ELSE waiting.newest_id END
        FROM waiting
        WHERE d.id = waiting.id AND (waiting.age > 1 OR waiting.seq < waiting.started_seq)
          AND d.state = waiting.state
        RETURNING d.id, d.account_id, old.state AS from_state, d.superseded_by
    ), told AS (
        INSERT INTO events (actor, action, account_id, disposition_id, from_state, to_state, reason)
        SELECT :worker, '{SUPERSEDE.action}', account_id, id, from_state, '{SUPERSEDE.enters}',
               'superseded by ' || superseded_by
        FROM outdated
    ), sent AS (
        UPDATE dispositions d
        SET state = '{SEND.enters}', attempt_count = attempt_count + 1, tries = tries + 1, next_attempt_at = NULL
        FROM waiting
        WHERE d.id = waiting.id AND waiting.age = 1 AND waiting.seq >= waiting.started_seq
          AND d.state = waiting.state
          AND (d.next_attempt_at IS NULL OR d.next_attempt_at <= clock_timestamp())
          AND d.expires_at > clock_timestamp()
        RETURNING d.*, waiting.epoch, waiting.lease_until
    ), attempt AS (
        INSERT INTO attempts (id, disposition_id, account_id, number, epoch, worker, started_at)
        SELECT uuidv7(), id, account_id, attempt_count, epoch, :worker, clock_timestamp() FROM sent
        RETURNING id, disposition_id, started_at
    ), unsure AS (
        SELECT id, seq > 1 AND EXISTS (
            SELECT FROM dispositions older JOIN attempts ON attempts.disposition_id = older.id
            WHERE older.call_id = sent.call_id AND older.seq < sent.seq AND older.state <> '{DELIVER.enters}'
              AND certainty = '{Certainty.SENT_UNKNOWN}'
        ) AS after_unknown
        FROM sent
    ), started AS (
        UPDATE calls
        SET started_seq = sent.seq,
            after_unknown_at = CASE WHEN after_unknown THEN clock_timestamp() ELSE after_unknown_at END
        FROM sent JOIN unsure ON unsure.id = sent.id WHERE calls.id = sent.call_id
    )
    SELECT sent.call_id, sent.epoch, sent.lease_until, sent.id AS disposition_id, attempt.id AS attempt_id,
           sent.attempt_count AS attempt_number, sent.tries, sent.created_at, attempt.started_at, sent.expires_at,
           sent.account_id, sent.ucid, sent.did, sent.agent_id, sent.disposition, sent.comments,
           sent.callback_time, sent.callback_time_zone, sent.callback_format, sent.pause_after_dispose,
           sent.pause_reason, accounts.customer, accounts.api_key, accounts.base_url, accounts.path, accounts.api,
           accounts.callback_format AS account_format, accounts.revision AS account_revision, accounts.late_callback,
           accounts.late_callback = '{LateCallback.REVIEW}' AND EXISTS (
               SELECT FROM attempts WHERE disposition_id = sent.id AND outcome = '{Outcome.CALLBACK_PASSED}'
           ) AS reviewed,
           lanes.doubt IS NOT NULL OR lanes.window_at IS NOT NULL AS watched,
           unsure.after_unknown, sent.outcome IS NOT DISTINCT FROM '{Outcome.TOKEN_EXPIRED}' AS after_token_expired
    FROM sent JOIN unsure ON unsure.id = sent.id JOIN attempt ON attempt.disposition_id = sent.id
    JOIN accounts ON accounts.id = sent.account_id JOIN lanes ON lanes.account_id = sent.account_id
""")

# A call that has nothing to send after all. ``next_at`` may only ever be too early, so that this mends it.
_LET_GO = text(f"""
    UPDATE calls SET lease_until = NULL, next_at = (
        SELECT min(coalesce(d.next_attempt_at, d.created_at))
               FILTER (WHERE d.{IS_WAITING} AND d.expires_at > clock_timestamp())
        FROM dispositions d WHERE d.call_id = calls.id)
    WHERE id = ANY(:ids)
""")


async def claim(
    connection: AsyncConnection,
    *,
    room: int,
    most: int,
    lease: timedelta,
    worker: str,
    under_way: Mapping[int, int] = MappingProxyType({}),
) -> Claim:
    """Leases up to ``room`` due calls and writes the attempt of each, in one transaction that the caller commits.

    The accounts that it locks share the room evenly, and none comes to have more than ``most``, with the calls that it
    has ``under_way``. An account's calls in flight and its pace are counted under its lane's lock, for all workers
    together; accounts on hold are passed over.
    """
    passing_over = {"passing_over": [account_id for account_id, calls in under_way.items() if calls >= most]}
    looked = (await connection.execute(_LOCK_LANES, {"room": room, **passing_over})).all()
    accounts = [row.account_id for row in looked if row.locked]
    left = {row.account_id for row in looked if row.open and not row.locked}
    waits = [row.opens_in for row in looked if not row.open and row.opens_in is not None and row.opens_in > 0]
    if left and not accounts:
        accounts = [*await connection.scalars(_WAIT_FOR_LANE, passing_over)]
    if not accounts:
        return Claim((), frozenset(), min(waits, default=None))
    each = max(1, room // len(accounts))  # what is left over goes to others by the next claim
    shares = {account_id: min(each, most - under_way.get(account_id, 0)) for account_id in accounts}
    lanes = {"accounts": list(shares), "shares": list(shares.values())}
    leased = (await connection.execute(_LEASE, {**lanes, "lease": lease})).all()
    waits += [row.opens_in for row in leased if row.opens_in is not None and row.opens_in > 0]
    if not leased:
        return Claim((), frozenset(), min(waits, default=None))
    ids = [row.id for row in leased]
    rows = await connection.execute(
        _SEND,
        {
            "ids": ids,
            "epochs": [row.epoch for row in leased],
            "leases": [row.lease_until for row in leased],
            "worker": worker,
        },
    )
    deliveries = [Delivery(*row) for row in rows]
    sent = {delivery.call_id for delivery in deliveries}
    idle = [call_id for call_id in ids if call_id not in sent]
    if idle:
        await let_go(connection, idle)
    taken = Counter(row.account_id for row in leased)
    full = {account_id for account_id, n in taken.items() if n >= shares[account_id]}
    return Claim(deliveries, frozenset(full | left), min(waits, default=None))


async def let_go(connection: AsyncConnection, call_ids: Sequence[int]) -> None:
    """Gives the calls back, due when the first of what waits in them is. The caller has locked them before."""
    await connection.execute(_LET_GO, {"ids": call_ids})


@dataclass(frozen=True, slots=True)
class Abandoned:
    """An attempt whose worker let its lease run out. Its call is locked. Times are the database's."""

    call_id: int
    epoch: int
    account_id: int
    disposition_id: UUID
    attempt_id: UUID
    tries: int
    expires_at: datetime
    now: datetime


_ABANDONED = text("""
    WITH lost AS MATERIALIZED (
        SELECT id, epoch, account_id FROM calls WHERE lease_until < clock_timestamp()
        ORDER BY account_id, ucid LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    SELECT lost.id AS call_id, lost.epoch, lost.account_id, d.id AS disposition_id, attempts.id AS attempt_id,
           d.tries, d.expires_at, clock_timestamp() AS now
    FROM lost JOIN dispositions d ON d.call_id = lost.id AND d.state = 'sending'
    JOIN attempts ON attempts.disposition_id = d.id AND attempts.number = d.attempt_count
""")


async def lock_abandoned(connection: AsyncConnection, *, limit: int) -> list[Abandoned]:
    """Locks up to ``limit`` calls whose lease is out and gives their open attempts."""
    return [Abandoned(*row) for row in await connection.execute(_ABANDONED, {"limit": limit})]


# The time is looked at outside, once a row is locked: that of the last row is after everything that was waited for.
_LOCK_IN_ORDER = text("""
    WITH locked AS MATERIALIZED (
        SELECT id, epoch, lease_until IS NOT NULL AS leased
        FROM calls WHERE id = ANY(:ids) ORDER BY account_id, ucid FOR UPDATE
    )
    SELECT *, clock_timestamp() AS now FROM locked
""")


async def lock_current(
    connection: AsyncConnection, epochs: Sequence[tuple[int, int]]
) -> tuple[set[tuple[int, int]], datetime | None]:
    """Locks the calls of ``(call_id, epoch)`` pairs; gives the pairs that still hold their lease, and the time then.

    A pair that is missing from the answer has lost its call to somebody else: its finish comes too late.
    """
    rows = (await connection.execute(_LOCK_IN_ORDER, {"ids": [call_id for call_id, _ in epochs]})).all()
    held = {(row.id, row.epoch) for row in rows if row.leased}
    return {pair for pair in epochs if pair in held}, rows[-1].now if rows else None
