"""Actions: what an operator does to dispositions, under the locks of their calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.lifecycle import CANCEL, SEND_AGAIN, Edge, State
from app.storage.events import came_from
from app.storage.transitions import leaves


@dataclass(frozen=True, slots=True)
class Subject:
    """A disposition whose call is locked. ``newer``: a later one of its call that sending it would overwrite."""

    call_id: int
    account: str
    on_hold: bool
    state: State
    newer: UUID | None


_LOCK_CALL = text("""
    SELECT calls.id FROM calls JOIN dispositions d ON d.call_id = calls.id WHERE d.id = :id FOR UPDATE OF calls
""")

# What was cancelled was never sent, and what this very disposition made stale is older, whatever its number.
_LOOK = text("""
    SELECT d.call_id, accounts.customer, accounts.hold_cause IS NOT NULL AS on_hold, d.state,
           (SELECT newer.id FROM dispositions newer
            WHERE newer.call_id = d.call_id AND newer.seq > d.seq AND newer.state <> 'cancelled'
              AND newer.superseded_by IS DISTINCT FROM d.id
            ORDER BY newer.seq DESC LIMIT 1) AS newer
    FROM dispositions d JOIN accounts ON accounts.id = d.account_id WHERE d.id = :id
""")


async def lock(connection: AsyncConnection, disposition_id: UUID) -> Subject | None:
    """Locks the call of a disposition and looks at it; None if there is no such disposition."""
    if await connection.scalar(_LOCK_CALL, {"id": disposition_id}) is None:
        return None
    row = (await connection.execute(_LOOK, {"id": disposition_id})).one_or_none()
    if row is None:  # it was pruned while the lock was waited for
        return None
    call_id, account, on_hold, state, newer = row
    return Subject(call_id, account, on_hold, State(state), newer)


def _event(edge: Edge) -> str:
    return f"""
    INSERT INTO events (actor, action, account_id, disposition_id, from_state, to_state, reason, address)
    SELECT :actor, '{edge.action}', account_id, id, from_state, '{edge.enters}', :reason, :address FROM moved
    """


_SEND_AGAIN = text(f"""
    WITH moved AS (
        UPDATE dispositions
        SET state = '{SEND_AGAIN.enters}', cause = NULL, finished_at = NULL, next_attempt_at = NULL, tries = 0,
            callback_format = NULL, replay_id = :replay_id,
            expires_at = CASE WHEN :renew THEN clock_timestamp() + make_interval(secs => max_age_seconds)
                         ELSE expires_at END
        WHERE id = ANY(:ids) AND state IN {leaves(SEND_AGAIN)}
        RETURNING id, account_id, call_id, old.state AS from_state
    ), due AS (
        UPDATE calls SET next_at = least(next_at, clock_timestamp()) FROM moved WHERE calls.id = moved.call_id
    ), told AS (
        {_event(SEND_AGAIN)}
    )
    SELECT id FROM moved
""")

_CANCEL = text(f"""
    WITH moved AS (
        UPDATE dispositions
        SET state = '{CANCEL.enters}', finished_at = clock_timestamp(), next_attempt_at = NULL
        WHERE id = ANY(:ids) AND state IN {leaves(CANCEL)}
        RETURNING id, account_id, old.state AS from_state
    ), told AS (
        {_event(CANCEL)}
    )
    SELECT id FROM moved
""")

_TELL_RESENT = text("""
    INSERT INTO events (actor, action, account_id, disposition_id, reason, address)
    SELECT :actor, 'resent', d.account_id, d.id, concat_ws(': ', 'as ' || resent.new_id, CAST(:reason AS text)),
           :address
    FROM unnest(CAST(:ids AS uuid[]), CAST(:new_ids AS uuid[])) AS resent(id, new_id)
    JOIN dispositions d ON d.id = resent.id
""")

# It stays failed, but there is nothing left to mend in it (docs/decisions/0011-failures-are-kept-in-groups.md).
_LEAVE_FAILURES = text("SELECT leave_failures(CAST(:ids AS uuid[]))")


async def send_again(
    connection: AsyncConnection,
    disposition_ids: Sequence[UUID],
    *,
    actor: str,
    reason: str | None,
    replay_id: UUID | None = None,
    renew: bool = True,
) -> set[UUID]:
    """Queues failed dispositions anew, with all their tries before them; gives those that it moved.

    ``renew``: with their whole age before them, too. The caller has locked their calls.
    """
    parameters = {"ids": list(disposition_ids), "replay_id": replay_id, "renew": renew}
    return set(await connection.scalars(_SEND_AGAIN, parameters | _by_whom(actor, reason)))


async def cancel(
    connection: AsyncConnection, disposition_ids: Sequence[UUID], *, actor: str, reason: str | None
) -> set[UUID]:
    """Takes waiting dispositions back for good; gives those that it moved. The caller has locked their calls."""
    return set(await connection.scalars(_CANCEL, {"ids": list(disposition_ids)} | _by_whom(actor, reason)))


async def tell_resent(
    connection: AsyncConnection, resent: Mapping[UUID, UUID], *, actor: str, reason: str | None
) -> None:
    """Notes with each of these (old id to new) that a corrected one was made of it, and that it needs no mending."""
    parameters = {"ids": list(resent), "new_ids": list(resent.values())}
    await connection.execute(_TELL_RESENT, parameters | _by_whom(actor, reason))
    await connection.execute(_LEAVE_FAILURES, {"ids": list(resent)})


def _by_whom(actor: str, reason: str | None) -> dict[str, object]:
    return {"actor": actor, "reason": reason, "address": came_from.get()}
