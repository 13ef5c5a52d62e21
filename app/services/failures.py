"""Failures: what people have to mend, and that somebody is at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.errors import NotFound
from app.domain.failures import Thing, Trouble, advise, advise_hold
from app.domain.lifecycle import WAITING
from app.domain.replays import Action
from app.services.keys import Caller
from app.storage import accounts, events, failures, reports
from app.storage.failures import Failure, Wanted


@dataclass(frozen=True, slots=True)
class ToFix:
    """What there is to mend: failures, the largest first, and the accounts whose deliveries stand still.

    ``total``: how many failures there are, shown or not.
    """

    failures: Sequence[dict[str, Any]]
    total: int
    holds: Sequence[dict[str, Any]]


class Failures:
    """Reads them, each with its advice; keeps who said what about one."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def all(self, wanted: Wanted, *, limit: int) -> ToFix:
        """The failures that are wanted, and all holds of the caller's accounts."""
        async with self._engine.connect() as connection:
            found = await failures.read(connection, wanted, limit=limit)
            held = await _holds(connection, wanted)
        return ToFix([shown(one) for one in found], found[0].total if found else 0, held)

    async def get(self, failure_id: UUID, caller: Caller) -> dict[str, Any]:
        """One failure; raises ``NotFound`` also for one that is mended, or not the caller's."""
        async with self._engine.connect() as connection:
            return shown(await _find(connection, failure_id, caller))

    async def of_disposition(self, disposition_id: UUID, caller: Caller) -> dict[str, Any] | None:
        """The failure that a disposition is one of; None if it is in none, or not the caller's."""
        async with self._engine.connect() as connection:
            failure_id = await failures.of_disposition(connection, disposition_id)
            wanted = Wanted(ids=[failure_id] if failure_id else [], only_accounts=caller.accounts)
            found = await failures.read(connection, wanted, limit=1) if failure_id else []
        return shown(found[0]) if found else None

    async def acknowledge(self, failure_id: UUID, caller: Caller, *, note: str | None = None) -> dict[str, Any]:
        """Marks a failure as known, with a note, until it comes back. Raises ``NotFound``."""
        async with self._engine.begin() as connection:
            await _find(connection, failure_id, caller)
            account_id = await failures.acknowledge(connection, failure_id, actor=caller.actor, note=note)
            await _tell(connection, failure_id, account_id, caller, "failure acknowledged", note)
            return shown(await _find(connection, failure_id, caller))

    async def reopen(self, failure_id: UUID, caller: Caller, *, reason: str | None = None) -> dict[str, Any]:
        """Takes the mark off. Raises ``NotFound``; one that is open stays so."""
        async with self._engine.begin() as connection:
            before = await _find(connection, failure_id, caller)
            if before.acknowledged_at is not None:
                account_id = await failures.reopen(connection, failure_id)
                if account_id is not None:  # else somebody else, or one more that failed, has opened it just now
                    await _tell(connection, failure_id, account_id, caller, "failure reopened", reason)
            return shown(await _find(connection, failure_id, caller))


async def reopen_left(connection: AsyncConnection, replay: Row[Any], actor: str) -> None:
    """Opens the failures again that a replay was to correct, if it ended before all of it was done.

    They were noted as known when it started (mending.py), and nobody is at what is left of them any more.
    """
    if replay.action != Action.RESEND or replay.started_at is None or not replay.waiting:
        return
    for failure_id in map(UUID, replay.filter.get("failure", ())):
        if (account_id := await failures.reopen(connection, failure_id)) is not None:
            why = f"the replay {replay.id} ended with {replay.waiting} not corrected"
            await events.tell(
                connection,
                actor=actor,
                action="failure reopened",
                subject=f"failure:{failure_id}",
                account_id=account_id,
                reason=why,
            )


def shown(failure: Failure) -> dict[str, Any]:
    """A failure as the API shows it, with whose it is and what to do."""
    advice = advise(Trouble(failure.account, failure.cause, Thing(failure.thing), failure.value))
    return {
        "id": failure.id,
        "account": failure.account,
        "cause": failure.cause,
        "thing": failure.thing,
        "value": failure.value,
        "count": failure.count,
        "owner": advice.owner,
        "hint": advice.hint,
        "since": failure.since,
        "last_at": failure.last_at,
        "sources": failure.sources,
        "sample": failure.sample,
        "reply": failure.reply,
        "acknowledged": failure.acknowledged_at is not None,
        "acknowledged_at": failure.acknowledged_at,
        "acknowledged_by": failure.acknowledged_by,
        "note": failure.note,
    }


async def _find(connection: AsyncConnection, failure_id: UUID, caller: Caller) -> Failure:
    found = await failures.read(connection, Wanted(ids=[failure_id], only_accounts=caller.accounts), limit=1)
    if not found:
        raise NotFound(f"There is no failure {failure_id}: what was in it was sent again, or is gone.")
    return found[0]


async def _holds(connection: AsyncConnection, wanted: Wanted) -> list[dict[str, Any]]:
    waiting: defaultdict[str, int] = defaultdict(int)
    for row in await reports.counts(connection):
        if row.kind == "state" and row.key in WAITING:
            waiting[row.account] += row.n
    return [
        {
            "account": one.customer,
            "cause": one.hold_cause,
            "reason": one.hold_reason,
            "held_at": one.held_at,
            "waiting": waiting[one.customer],
            "owner": (advice := advise_hold(one.customer, one.hold_cause)).owner,
            "hint": advice.hint,
        }
        for one in await accounts.read_all(connection)
        if one.hold_cause is not None
        and (not wanted.only_accounts or one.customer in wanted.only_accounts)
        and (not wanted.accounts or one.customer in wanted.accounts)
    ]


async def _tell(
    connection: AsyncConnection, failure_id: UUID, account_id: int | None, caller: Caller, action: str, why: str | None
) -> None:
    if account_id is None:
        raise NotFound(f"There is no failure {failure_id} any more: what was in it was sent again, or is gone.")
    await events.tell(
        connection,
        actor=caller.actor,
        action=action,
        subject=f"failure:{failure_id}",
        account_id=account_id,
        reason=why,
    )
