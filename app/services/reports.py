"""Reports: what people and programs look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.callback_time import CallbackFormat, format_callback_time
from app.domain.cursor import Cursor, neighbours
from app.domain.errors import NotFound
from app.domain.filters import Filter
from app.domain.lifecycle import State, shown
from app.services.keys import Caller
from app.storage import lists, reports
from app.storage.reports import History

RATE_MINUTES = 5

_CHUNK = 1000
_ALL = 1 << 62


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, newest first. ``next`` leads to the older one, ``previous`` back; None where there is none.

    ``total``: of all that the filter takes, where it is known without counting. ``partial``: the page is not full, and
    there may be others yet; there was too much to look through for one page.
    """

    items: Sequence[dict[str, Any]]
    next: Cursor | None
    previous: Cursor | None
    total: int | None
    partial: bool


class Reports:
    """Reads what is stored, in the shapes of the contract."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def disposition(self, disposition_id: UUID, caller: Caller) -> dict[str, Any]:
        """One disposition, whole; raises ``NotFound`` also for one that is not the caller's."""
        async with self._engine.connect() as connection:
            found = await reports.history(connection, disposition_id)
        if found is None or not caller.owns(found.disposition.account):
            raise NotFound(f"There is no disposition {disposition_id}.")
        return whole(found)

    async def page(self, wanted: Filter, *, after: Cursor | None, limit: int) -> Page:
        """A page of what the filter takes, from a cursor on."""
        async with self._engine.connect() as connection:
            found = await lists.page(connection, wanted, after, limit=limit)
        before, behind = neighbours(after, [row.id for row in found.rows], more=found.more, end=found.end)
        return Page([summary(row) for row in found.rows], behind, before, found.total, found.end is not None)

    async def all(
        self, wanted: Filter, *, after: Cursor | None = None, limit: int | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Everything that the filter takes, newest first, or up to ``limit`` of it; read in pieces, and no transaction
        is open in between."""
        left = _ALL if limit is None else limit
        while left:
            page = await self.page(wanted, after=after, limit=min(left, _CHUNK))
            for one in page.items:
                yield one
            left -= len(page.items)
            if page.next is None:
                return
            after = page.next

    async def after_unknown_at(self, account: str, ucid: str, caller: Caller) -> datetime | None:
        """When one of the call's dispositions was last sent although an older one may have come after it."""
        if not caller.owns(account):
            return None
        async with self._engine.connect() as connection:
            return await reports.after_unknown_at(connection, account, ucid)

    async def export(self, wanted: Filter) -> AsyncIterator[dict[str, Any]]:
        """Everything that the filter takes, oldest first, each one whole."""
        async with self._engine.connect() as connection:
            # Each piece is a statement of its own: a slow reader holds no transaction open meanwhile.
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            async for found in reports.export(connection, wanted):
                yield whole(found)

    async def stats(self, caller: Caller) -> dict[str, Any]:
        """Counts by state, cause and account, the age of the oldest that is due, and rates."""
        async with self._engine.connect() as connection:
            counted = await reports.counts(connection)
            arrived = await reports.arrivals_in_states(connection, minutes=RATE_MINUTES)
            ages = await reports.oldest_due_ages(connection)
            time = await reports.database_time(connection)
        states: dict[str, int] = {state.value: 0 for state in State}
        causes: defaultdict[str, int] = defaultdict(int)
        outcomes: defaultdict[str, int] = defaultdict(int)
        accounts: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for row in counted:
            if not caller.owns(row.account):
                continue
            if row.kind == "attempt":
                outcomes[row.key] += row.n
            if row.kind != "state":
                continue
            name, _, cause = row.key.partition(":")
            state = shown(State(name), on_hold=row.on_hold).value
            states[state] += row.n
            mine = accounts[row.account]
            mine[state] = mine.get(state, 0) + row.n
            if cause:
                causes[cause] += row.n
        entered: defaultdict[str, int] = defaultdict(int)
        for row in arrived:
            if caller.owns(row.account):
                entered[row.key.partition(":")[0]] += row.n
        own_ages = [age for account, age in ages.items() if caller.owns(account)]
        return {
            "at": time,
            "states": states,
            "causes": dict(sorted(causes.items())),
            "outcomes": dict(sorted(outcomes.items())),
            "accounts": {name: accounts[name] for name in sorted(accounts)},
            "oldest_due_seconds": max(own_ages, default=0.0),
            "rates_per_minute": {
                state.value: round(entered[state] / RATE_MINUTES, 2)
                for state in (State.DELIVERED, State.FAILED, State.RETRYING)
            },
        }


_SHOWN = (
    *("id", "account", "ucid", "did", "agent_id", "disposition", "comments", "callback_time_zone"),
    *("pause_after_dispose", "pause_reason", "reference", "source", "occurred_at", "outcome", "cause"),
    *("attempt_count", "next_attempt_at", "created_at", "finished_at", "expires_at", "superseded_by"),
    *("resent_from", "replay_id"),
)


def summary(row: Row[Any]) -> dict[str, Any]:
    """A disposition as the contract shows it, without its history."""
    fields = {name: getattr(row, name) for name in _SHOWN}
    fields["state"] = shown(State(row.state), on_hold=row.on_hold)
    fields["callback_time"] = (
        None if row.callback_time is None else format_callback_time(row.callback_time, CallbackFormat.YMD)
    )
    return fields


def whole(found: History) -> dict[str, Any]:
    """A disposition as the contract shows it, with its attempts and events."""
    return {
        **summary(found.disposition),
        "resent_as": found.resent_as,
        "attempts": [
            {
                "id": attempt.id,
                "number": attempt.number,
                "started_at": attempt.started_at,
                "finished_at": attempt.finished_at,
                "outcome": attempt.outcome,
                "certainty": attempt.certainty,
                "http_status": attempt.http_status,
                "reply_status": attempt.reply_status,
                "reply_details": attempt.reply_details,
                "latency_ms": attempt.latency_ms,
                "notes": attempt.notes,
            }
            for attempt in found.attempts
        ],
        "events": [
            {
                "at": event.at,
                "actor": event.actor,
                "action": event.action,
                "from": event.from_state,
                "to": event.to_state,
                "reason": event.reason,
            }
            for event in found.events
        ],
    }
