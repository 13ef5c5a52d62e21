"""Attempts: what became of a call to CloudAgent, recorded with everything that follows from it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.lifecycle import DELIVER, FAIL, FINAL, PUT_BACK, RETRY_LATER
from app.domain.replies import REMEDIES, Certainty, Outcome, Remedy, Verdict
from app.domain.retry import Decision
from app.storage.transitions import leaves


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of an attempt: what it came to and what was decided. The caller holds its call's lock."""

    call_id: int
    epoch: int
    account_id: int
    disposition_id: UUID
    attempt_id: UUID
    verdict: Verdict
    decision: Decision
    next_format: str | None = None  # the call-back format of the next attempt, if it is not the account's
    finished: bool = True  # False: nobody saw the end; the attempt keeps ``finished_at`` null
    notes: Sequence[str] = field(default_factory=tuple)


# All four edges that leave ``sending`` leave it alone, so one guard serves them all.
assert DELIVER.leaves == FAIL.leaves == RETRY_LATER.leaves == PUT_BACK.leaves
_LEAVES = leaves(DELIVER)

# The guard is twofold: the caller holds the lock of a call whose epoch is the attempt's, and the disposition is still
# ``sending``. The call's ``next_at`` keeps what intake wrote while the lease was held: a newer disposition goes next.
# One time for the attempt, its disposition and whatever else is decided about them: the caller's, who has the locks.
# Rows travel as one JSON text: the database reads it faster than Python writes an array for each column. ``nothing`` is
# in none of them, and null. Told plainly that the attempt has no outcome yet, the planner would begin with all attempts
# that have none, and find them by reading the whole table, as long as its statistics are from when that was small.
_FINISH = text(f"""
    WITH finish AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:rows AS json))
            AS f(call_id bigint, epoch int, disposition_id uuid, attempt_id uuid, outcome text, certainty text,
                 http_status int, reply_status text, reply_details text, latency_ms int, state text, cause text,
                 next_at timestamptz, format text, put_back int, final bool, action text, finished bool, notes text[],
                 nothing text)
    ), attempt AS (
        UPDATE attempts a
        SET finished_at = CASE WHEN f.finished THEN CAST(:now AS timestamptz) END, outcome = f.outcome,
            certainty = f.certainty, http_status = f.http_status, reply_status = f.reply_status,
            reply_details = f.reply_details, latency_ms = f.latency_ms,
            notes = a.notes || f.notes
        FROM finish f WHERE a.id = f.attempt_id AND a.outcome IS NOT DISTINCT FROM f.nothing
    ), moved AS (
        UPDATE dispositions d
        SET state = f.state, outcome = f.outcome, cause = f.cause, next_attempt_at = f.next_at,
            callback_format = coalesce(f.format, d.callback_format), tries = d.tries - f.put_back,
            finished_at = CASE WHEN f.final THEN CAST(:now AS timestamptz) END
        FROM finish f WHERE d.id = f.disposition_id AND d.state IN {_LEAVES}
        RETURNING d.id, d.account_id, old.state AS from_state, d.state, d.cause, f.action
    ), told AS (
        INSERT INTO events (actor, action, account_id, disposition_id, from_state, to_state, reason)
        SELECT :worker, action, account_id, id, from_state, state, cause FROM moved WHERE action IS NOT NULL
    )
    UPDATE calls SET lease_until = NULL, next_at = least(calls.next_at, f.next_at)
    FROM finish f WHERE calls.id = f.call_id AND calls.epoch = f.epoch
""")

_NOTE_LATE = text("""
    UPDATE attempts SET notes = attempts.notes || late.note
    FROM unnest(CAST(:ids AS uuid[]), CAST(:notes AS text[])) AS late(id, note)
    WHERE attempts.id = late.id AND attempts.finished_at IS NULL
""")


_DISPOSED = ", ".join(
    f"'{outcome}'" for outcome in Outcome if REMEDIES[outcome] is Remedy.NONE or outcome is Outcome.ALREADY_DISPOSED
)

# An attempt that left open whether CloudAgent acted on it. A gateway's 5xx is an answer, but not CloudAgent's.
_LEFT_OPEN = f"(attempts.certainty = '{Certainty.SENT_UNKNOWN}' OR attempts.outcome = '{Outcome.UPSTREAM_ERROR}')"

# Ours if nothing else can have been: no older disposition of the call has landed or may have, and none, this one
# included, was told before that the call is disposed already. The attempt in hand has no outcome yet.
_LANDED_BEFORE = text(f"""
    SELECT d.id FROM dispositions d
    WHERE d.id = ANY(:ids)
      AND EXISTS (SELECT FROM attempts WHERE disposition_id = d.id AND {_LEFT_OPEN})
      AND NOT EXISTS (
          SELECT FROM dispositions o JOIN attempts ON attempts.disposition_id = o.id
          WHERE o.call_id = d.call_id AND o.seq <= d.seq
            AND (attempts.outcome IN ({_DISPOSED}) OR (o.seq < d.seq AND {_LEFT_OPEN})))
""")


async def landed_before(connection: AsyncConnection, disposition_ids: Collection[UUID]) -> set[UUID]:
    """Those of these dispositions whose call CloudAgent calls disposed already, most likely by their own doing."""
    return set((await connection.scalars(_LANDED_BEFORE, {"ids": list(disposition_ids)})).all())


async def finish(connection: AsyncConnection, finishes: Sequence[Finish], now: datetime, *, worker: str) -> None:
    """Records the ends of attempts whose calls are locked by the caller and still theirs.

    ``now`` is when all of these locks were there, by the database's clock.
    """
    rows = orjson.dumps([_row(one) for one in finishes]).decode()
    await connection.execute(_FINISH, {"rows": rows, "now": now, "worker": worker})


def _row(one: Finish) -> dict[str, object]:
    verdict, decision = one.verdict, one.decision
    return {
        "call_id": one.call_id,
        "epoch": one.epoch,
        "disposition_id": one.disposition_id,
        "attempt_id": one.attempt_id,
        "outcome": verdict.outcome,
        "certainty": verdict.certainty,
        "http_status": verdict.http_status,
        "reply_status": verdict.reply_status,
        "reply_details": verdict.reply_details,
        "latency_ms": verdict.latency_ms if one.finished else None,
        "state": decision.edge.enters,
        "cause": decision.cause,
        "next_at": decision.next_attempt_at,
        "format": one.next_format,
        "put_back": int(decision.edge is PUT_BACK),
        "final": decision.edge.enters in FINAL,
        "action": decision.edge.action,
        "finished": one.finished,
        "notes": list(one.notes),
    }


async def note_late(connection: AsyncConnection, late: Sequence[tuple[UUID, Verdict, datetime]]) -> None:
    """Notes what attempts came to whose lease had run out before. It changes nothing else.

    An attempt that has its end is left alone: it was recorded, only the COMMIT's answer got lost.
    """
    await connection.execute(
        _NOTE_LATE,
        {
            "ids": [attempt_id for attempt_id, _, _ in late],
            "notes": [
                f"finished late, at {at:%Y-%m-%dT%H:%M:%S.%fZ}, after its lease was out: {verdict.outcome}"
                for _, verdict, at in late
            ],
        },
    )
