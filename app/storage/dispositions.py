"""Dispositions: stored in groups, as new calls in one statement or under the locks of calls that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.disposition import NewDisposition
from app.domain.lifecycle import ACCEPT, ACCEPT_STALE, SUPERSEDE, State, shown
from app.domain.ordering import Admission, Newest, admit, moment
from app.storage.standing import Connection, rows
from app.storage.transitions import leaves


@dataclass(frozen=True, slots=True)
class Arrival:
    """A valid disposition on its way into the table. ``actor`` is who sent it, as the audit trail names it."""

    id: UUID
    account_id: int
    actor: str
    new: NewDisposition
    fingerprint: bytes
    max_age: timedelta
    idempotency_key: str | None = None
    source: str | None = None
    resent_from: UUID | None = None
    replay_id: UUID | None = None
    corrects: bool = False  # it takes the place of the newest of its call that anybody sends; the caller has looked

    @property
    def call(self) -> tuple[int, str]:
        """What names its call: account and UCID."""
        return self.account_id, self.new.ucid


@dataclass(frozen=True, slots=True)
class Stored:
    """Where an arrival ended: under its own id, or, as a duplicate, under the id of the one that it repeats.

    ``state`` is the one to show; None for a duplicate, whose original may be anywhere by now (``read_states``).
    """

    id: UUID
    state: State | None
    duplicate: bool = False


# Rows travel as one JSON text: the database reads it faster than Python writes an array for each column.
_FIELDS: Mapping[str, str] = {
    "id": "uuid",
    "account_id": "int",
    "ucid": "text",
    "did": "text",
    "agent_id": "text",
    "disposition": "text",
    "comments": "text",
    "callback_time": "timestamp",
    "callback_time_zone": "text",
    "pause_after_dispose": "bool",
    "pause_reason": "text",
    "reference": "text",
    "source": "text",
    "occurred_at": "timestamptz",
    "max_age_seconds": "int",
    "resent_from": "uuid",
    "replay_id": "uuid",
}
_NAMES = ", ".join(_FIELDS)
_TYPED = ", ".join(f"{name} {kind}" for name, kind in _FIELDS.items())

# A call that nobody has seen before needs no decision: its first disposition is its newest. What is left out of the
# answer was no new call, and is not stored.
_STORE_NEW = f"""
    WITH arrival AS MATERIALIZED (
        SELECT {_NAMES}, actor, decode(print, 'hex') AS print, clock.now
        FROM json_to_recordset(CAST(%(rows)s AS json)) AS row({_TYPED}, actor text, print text),
             (SELECT clock_timestamp() AS now) AS clock
    ), call AS (
        INSERT INTO calls (account_id, ucid, last_seq, newest_id, newest_at, newest_accepted_at, newest_print, next_at)
        SELECT account_id, ucid, 1, id, least(occurred_at, now), now, print, now
        FROM arrival ORDER BY account_id, ucid
        ON CONFLICT (ucid, account_id) DO NOTHING
        RETURNING id AS call_id, newest_id
    ), stored AS (
        INSERT INTO dispositions (call_id, seq, state, created_at, expires_at, {_NAMES})
        SELECT call_id, 1, '{ACCEPT.enters}', now, now + make_interval(secs => max_age_seconds), {_NAMES}
        FROM call JOIN arrival ON arrival.id = call.newest_id
        RETURNING id, account_id
    ), told AS (
        INSERT INTO events (at, actor, action, account_id, disposition_id, to_state)
        SELECT now, actor, '{ACCEPT.action}', account_id, id, '{ACCEPT.enters}'
        FROM call JOIN arrival ON arrival.id = call.newest_id
    )
    SELECT stored.id, accounts.hold_cause IS NOT NULL AS on_hold
    FROM stored JOIN accounts ON accounts.id = stored.account_id
""".encode()

# The first arrival of a call writes the row as if the call were new. If it is not, the row comes back as it was,
# locked; that ``newest_id`` is not ours tells the two apart.
_LOCK_CALLS = text("""
    INSERT INTO calls (account_id, ucid, last_seq, newest_id, newest_at, newest_accepted_at, newest_print, next_at)
    SELECT account_id, ucid, 1, id, least(occurred_at, now), now, decode(print, 'hex'), now
    FROM json_to_recordset(CAST(:rows AS json))
         AS arrival(account_id int, ucid text, id uuid, occurred_at timestamptz, print text),
         (SELECT clock_timestamp() AS now) AS clock
    ORDER BY account_id, ucid
    ON CONFLICT (ucid, account_id) DO UPDATE SET last_seq = calls.last_seq
    RETURNING id, account_id, ucid, last_seq, newest_id, newest_at, newest_accepted_at, newest_print,
              clock_timestamp() AS now,
              (SELECT hold_cause IS NOT NULL FROM accounts WHERE accounts.id = calls.account_id) AS on_hold
""")

_STATES = text("""
    SELECT d.id, d.state, accounts.hold_cause IS NOT NULL AS on_hold
    FROM dispositions d JOIN accounts ON accounts.id = d.account_id WHERE d.id = ANY(:ids)
""")

_READ = text("""
    SELECT d.*, accounts.customer AS account
    FROM dispositions d JOIN accounts ON accounts.id = d.account_id WHERE d.id = ANY(:ids)
""")

_INSERT = text(f"""
    WITH placed AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:rows AS json))
            AS row({_TYPED}, actor text, call_id bigint, seq int, state text, at timestamptz, superseded_by uuid)
    ), stored AS (
        INSERT INTO dispositions (
            call_id, seq, state, created_at, expires_at, finished_at, superseded_by, {_NAMES})
        SELECT call_id, seq, state, at, at + make_interval(secs => max_age_seconds),
               CASE WHEN superseded_by IS NOT NULL THEN at END, superseded_by, {_NAMES}
        FROM placed
    )
    INSERT INTO events (at, actor, action, account_id, disposition_id, to_state, reason)
    SELECT at, actor, CASE state WHEN '{ACCEPT_STALE.enters}' THEN '{ACCEPT_STALE.action}' ELSE '{ACCEPT.action}' END,
           account_id, id, state, 'older than ' || superseded_by
    FROM placed
""")

# ``next_at`` is set even while the call is leased: the finish of the older one keeps it, and the newer goes next.
_UPDATE_CALLS = text("""
    UPDATE calls SET last_seq = new.last_seq, newest_id = new.newest_id, newest_at = new.newest_at,
        newest_accepted_at = new.accepted_at, newest_print = new.print,
        next_at = CASE WHEN new.queued THEN least(next_at, clock_timestamp()) ELSE next_at END
    FROM unnest(CAST(:ids AS bigint[]), CAST(:last_seqs AS int[]), CAST(:newest_ids AS uuid[]),
                CAST(:newest_ats AS timestamptz[]), CAST(:accepted_ats AS timestamptz[]),
                CAST(:prints AS bytea[]), CAST(:queued AS bool[]))
         AS new(id, last_seq, newest_id, newest_at, accepted_at, print, queued)
    WHERE calls.id = new.id
""")

# ``OFFSET 0`` and the equality keep the planner to the rows of these calls: going by the partial index of all that
# waits looks cheaper to it while its statistics are old, and reads 100,000 rows for one call.
_SUPERSEDE_OLDER = text(f"""
    WITH call AS (
        SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:newest_ids AS uuid[]), CAST(:actors AS text[]))
            AS call(id, newest_id, actor)
    ), waiting AS MATERIALIZED (
        SELECT d.id, d.state, call.newest_id, call.actor
        FROM call CROSS JOIN LATERAL (SELECT id, state FROM dispositions WHERE call_id = call.id OFFSET 0) AS d
        WHERE d.id <> call.newest_id AND d.state IN {leaves(SUPERSEDE)}
    ), outdated AS (
        UPDATE dispositions d
        SET state = '{SUPERSEDE.enters}', superseded_by = waiting.newest_id, finished_at = clock_timestamp(),
            next_attempt_at = NULL
        FROM waiting WHERE d.id = waiting.id AND d.state = waiting.state
        RETURNING d.id, d.account_id, old.state AS from_state, d.superseded_by, waiting.actor
    )
    INSERT INTO events (actor, action, account_id, disposition_id, from_state, to_state, reason)
    SELECT actor, '{SUPERSEDE.action}', account_id, id, from_state, '{SUPERSEDE.enters}',
           'superseded by ' || superseded_by
    FROM outdated
""")


@dataclass(slots=True)
class _Call:
    """A locked call while its arrivals are decided, in the order in which they came."""

    id: int
    on_hold: bool
    last_seq: int = 0
    newest: Newest | None = None
    actor: str = ""
    queued: bool = False
    changed: bool = False  # the row has to be written again


@dataclass(frozen=True, slots=True)
class _Placed:
    """An arrival that is stored: in which call, with which number, in which state."""

    arrival: Arrival
    call: _Call
    seq: int
    state: State
    at: datetime
    superseded_by: UUID | None


async def store_new(connection: Connection, arrivals: Sequence[Arrival]) -> dict[UUID, Stored]:
    """Stores those arrivals whose calls are new, in one statement; no two of them may be of one call.

    Those that are missing from the answer need a decision: ``store``.
    """
    new = [_row(arrival, print=arrival.fingerprint.hex()) for arrival in arrivals]
    found = await rows(connection, _STORE_NEW, {"rows": _json(new)})
    return {id_: Stored(id_, shown(ACCEPT.enters, on_hold=on_hold)) for id_, on_hold in found}


async def store(connection: AsyncConnection, arrivals: Sequence[Arrival], *, window: timedelta) -> list[Stored]:
    """Stores arrivals under the locks of their calls, in a transaction that the caller commits; results in order.

    ``window``: for how long a request that is identical to the call's newest disposition is its duplicate.
    """
    calls = await _lock_calls(connection, arrivals)
    results: list[Stored] = []
    placed: list[_Placed] = []
    for arrival in arrivals:
        call, now = calls[arrival.call]
        place = _decide(call, arrival, now, window)
        if place is None:
            assert call.newest is not None
            results.append(Stored(call.newest.id, None, duplicate=True))
        else:
            placed.append(place)
            results.append(Stored(arrival.id, shown(place.state, on_hold=call.on_hold)))
    if placed:
        await connection.execute(_INSERT, {"rows": _json([_placed_row(place) for place in placed])})
    changed = [call for call, _ in calls.values() if call.changed]
    if changed:
        await _update_calls(connection, changed)
    return results


async def _lock_calls(
    connection: AsyncConnection, arrivals: Sequence[Arrival]
) -> Mapping[tuple[int, str], tuple[_Call, datetime]]:
    """The calls of the arrivals, locked in one order for everybody, and the database's time after that."""
    first: dict[tuple[int, str], Arrival] = {}
    for arrival in arrivals:
        first.setdefault(arrival.call, arrival)
    seeds = [
        {
            "account_id": seed.account_id,
            "ucid": seed.new.ucid,
            "id": seed.id,
            "occurred_at": seed.new.occurred_at,
            "print": seed.fingerprint.hex(),
        }
        for seed in first.values()
    ]
    found = await connection.execute(_LOCK_CALLS, {"rows": _json(seeds)})
    calls: dict[tuple[int, str], tuple[_Call, datetime]] = {}
    for row in found:
        seed = first[row.account_id, row.ucid]
        call = _Call(row.id, row.on_hold)
        if row.newest_id != seed.id:
            call.last_seq, call.newest = row.last_seq, _newest(row)
        calls[row.account_id, row.ucid] = call, row.now
    return calls


async def read_states(connection: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, State]:
    """The states, as they are to be shown, of those of ``ids`` that are stored."""
    found = await connection.execute(_STATES, {"ids": list(ids)})
    return {row.id: shown(State(row.state), on_hold=row.on_hold) for row in found}


async def read(connection: AsyncConnection, ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """The rows of those of ``ids`` that are stored, each with the name of its ``account``."""
    return (await connection.execute(_READ, {"ids": list(ids)})).all()


def _newest(row: Row[Any]) -> Newest:
    return Newest(row.newest_id, row.newest_at, row.newest_accepted_at, row.newest_print)


def _decide(call: _Call, arrival: Arrival, now: datetime, window: timedelta) -> _Placed | None:
    """Places the arrival in its call and moves the call on; None for a duplicate of the newest."""
    was_new = call.last_seq == 0
    admission = admit(
        call.newest,
        fingerprint=arrival.fingerprint,
        occurred_at=arrival.new.occurred_at,
        now=now,
        window=window,
        has_key=arrival.idempotency_key is not None,
        corrects=arrival.corrects,
    )
    if admission is Admission.DUPLICATE:
        return None
    call.last_seq += 1
    # A new call's first arrival is in its row already.
    call.changed = call.changed or not was_new
    if admission is Admission.STALE:
        assert call.newest is not None
        return _Placed(arrival, call, call.last_seq, ACCEPT_STALE.enters, now, call.newest.id)
    call.newest = Newest(arrival.id, moment(arrival.new.occurred_at, now), now, arrival.fingerprint)
    call.queued = True
    call.actor = arrival.actor
    return _Placed(arrival, call, call.last_seq, ACCEPT.enters, now, None)


def _row(arrival: Arrival, **more: object) -> dict[str, object]:
    """The arrival as a row of ``_FIELDS``; what is absent is left out, and null in the table."""
    new = arrival.new
    row: dict[str, object] = {
        "id": arrival.id,
        "account_id": arrival.account_id,
        "actor": arrival.actor,
        "ucid": new.ucid,
        "did": new.did,
        "agent_id": new.agent_id,
        "disposition": new.disposition,
        "comments": new.comments,
        "callback_time": new.callback_time,
        "callback_time_zone": new.callback_time_zone,
        "pause_after_dispose": new.pause_after_dispose,
        "pause_reason": new.pause_reason,
        "reference": new.reference,
        "source": arrival.source,
        "occurred_at": new.occurred_at,
        "max_age_seconds": int(arrival.max_age.total_seconds()),
        "resent_from": arrival.resent_from,
        "replay_id": arrival.replay_id,
    }
    return row | more


def _placed_row(place: _Placed) -> dict[str, object]:
    return _row(
        place.arrival,
        call_id=place.call.id,
        seq=place.seq,
        state=place.state,
        at=place.at,
        superseded_by=place.superseded_by,
    )


def _json(rows: Sequence[Mapping[str, object]]) -> str:
    return orjson.dumps(rows).decode()


async def _update_calls(connection: AsyncConnection, calls: Sequence[_Call]) -> None:
    """Writes what the arrivals changed in calls that were there before, and supersedes what waited in them."""
    newest = [call.newest for call in calls]
    await connection.execute(
        _UPDATE_CALLS,
        {
            "ids": [call.id for call in calls],
            "last_seqs": [call.last_seq for call in calls],
            "newest_ids": [one.id for one in newest if one],
            "newest_ats": [one.at for one in newest if one],
            "accepted_ats": [one.accepted_at for one in newest if one],
            "prints": [one.print for one in newest if one],
            "queued": [call.queued for call in calls],
        },
    )
    moved_on = [call for call in calls if call.queued]
    if moved_on:
        await connection.execute(
            _SUPERSEDE_OLDER,
            {
                "ids": [call.id for call in moved_on],
                "newest_ids": [call.newest.id for call in moved_on if call.newest],
                "actors": [call.actor for call in moved_on],
            },
        )
