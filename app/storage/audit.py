"""The audit trail, read: who did what to which thing, newest first.

Nearly all of it is ``accepted`` and ``delivered``, two lines for each disposition. What people did is found by indexes
that leave those out; whatever else is asked for is looked for among the newest lines, a stretch at a time, so that a
page never costs more than a stretch. A page may so be short, or empty, and have a next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Row, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.tables import accounts, events

STRETCH = 50_000
"""Lines that one page looks at."""

# A line's time is taken before it gets its number, so neighbours may be the wrong way round, by as long as a
# transaction takes.
_JITTER = timedelta(minutes=1)

# What the partial indexes leave out (``tables`` says the same): what happens to each disposition, and who does it.
ROUTINE = ("accepted", "delivered", "failed", "superseded")
PROGRAMS = ("client:", "source:", "worker:", "scheduler")
NO_PEOPLE = ("client:", "source:", "worker:", "schedule")  # a schedule acts by itself, too


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines; None or empty: any. ``only_accounts`` are those of a bound key."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    disposition: UUID | None = None
    accounts: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    only_accounts: frozenset[str] = frozenset()
    people: bool = False  # only what people did, and no client, source, worker, scheduler or schedule


@dataclass(frozen=True, slots=True)
class Found:
    """A page's lines, newest first, and the number under which the next one goes on; None on the last."""

    rows: Sequence[Row[Any]]
    next: int | None


async def page(
    connection: AsyncConnection, wanted: Wanted, *, under: int | None, limit: int, stretch: int = STRETCH
) -> Found:
    """Up to ``limit`` lines with numbers below ``under``."""
    conditions = await _conditions(connection, wanted)
    bounds = await _bounds(connection, wanted, under)
    rare = _rare(wanted)
    if rare is None:
        looked_at = select(events).where(*bounds).order_by(events.c.id.desc()).limit(stretch).subquery("events")
    else:
        looked_at = select(events).where(*bounds, *rare).subquery("events")
    lines = (
        select(looked_at, accounts.c.customer.label("account"))
        .join_from(looked_at, accounts, looked_at.c.account_id == accounts.c.id, isouter=True)
        .where(*(one.of(looked_at.c) for one in conditions), *_times(wanted, looked_at.c.at))
        .where(*(_none_of(NO_PEOPLE, looked_at.c.actor) if wanted.people else ()))
        .order_by(looked_at.c.id.desc())
        .limit(limit + 1)
    )
    rows = (await connection.execute(lines)).all()
    if len(rows) > limit:
        return Found(rows[:limit], rows[limit - 1].id)
    return Found(rows, None if rare is not None else await _end(connection, bounds, stretch))


async def _end(connection: AsyncConnection, bounds: Sequence[ColumnElement[bool]], stretch: int) -> int | None:
    """The number of a stretch's last line; None if there are no lines behind it."""
    last = select(events.c.id).where(*bounds).order_by(events.c.id.desc()).offset(stretch - 1).limit(1)
    return cast("int | None", await connection.scalar(last))


def _rare(wanted: Wanted) -> Sequence[ColumnElement[bool]] | None:
    """What ties the lines to an index that has few of them; None if there is none."""
    if wanted.disposition is not None:
        return [events.c.disposition_id == wanted.disposition]
    if wanted.subject is not None:
        return [events.c.subject == wanted.subject]
    if wanted.action is not None and wanted.action not in ROUTINE:
        return [events.c.action == wanted.action, events.c.action.not_in(_written(ROUTINE, expanding=True))]
    if wanted.actor is not None and not wanted.actor.startswith(PROGRAMS):
        return [events.c.actor == wanted.actor, *_none_of(PROGRAMS, events.c.actor)]
    return _none_of(NO_PEOPLE, events.c.actor) if wanted.people else None


def _none_of(beginnings: Sequence[str], actor: ColumnElement[str]) -> list[ColumnElement[bool]]:
    """That the actor begins in none of these ways."""
    return [actor.not_like(_written(f"{one}%")) for one in beginnings]


def _written(value: object, *, expanding: bool = False) -> Any:
    """A constant of ours as text of the statement: of a parameter the planner can't know that an index has it."""
    return bindparam(None, value, expanding=expanding, literal_execute=True, unique=True)


@dataclass(frozen=True, slots=True)
class _Condition:
    """A column's name and the values that it may have."""

    column: str
    values: Sequence[object]

    def of(self, columns: Any) -> ColumnElement[bool]:
        return cast("ColumnElement[bool]", columns[self.column].in_(self.values))


async def _conditions(connection: AsyncConnection, wanted: Wanted) -> list[_Condition]:
    asked = {
        "actor": wanted.actor,
        "action": wanted.action,
        "subject": wanted.subject,
        "disposition_id": wanted.disposition,
    }
    found = [_Condition(column, [value]) for column, value in asked.items() if value is not None]
    if wanted.accounts or wanted.only_accounts:
        own = [
            row.id
            for row in await connection.execute(select(accounts.c.id, accounts.c.customer))
            if (not wanted.accounts or row.customer in wanted.accounts)
            and (not wanted.only_accounts or row.customer in wanted.only_accounts)
        ]
        found.append(_Condition("account_id", own))
    return found


def _times(wanted: Wanted, at: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
    return [
        *([at >= wanted.since] if wanted.since else []),
        *([at < wanted.until] if wanted.until else []),
    ]


async def _bounds(connection: AsyncConnection, wanted: Wanted, under: int | None) -> list[ColumnElement[bool]]:
    """Between which numbers the lines lie."""
    found: list[ColumnElement[bool]] = []
    if under is not None:
        found.append(events.c.id < under)
    if wanted.since:
        found.append(events.c.id >= await _number_at(connection, wanted.since - _JITTER))
    if wanted.until:
        found.append(events.c.id < await _number_at(connection, wanted.until + _JITTER))
    return found


async def _number_at(connection: AsyncConnection, moment: datetime) -> int:
    """The number of the first line at that time or later: numbers grow with time, so it is found by halving."""
    low, high = (await connection.execute(select(func.min(events.c.id), func.max(events.c.id)))).one()
    if low is None:
        return 0
    high += 1
    while low < high:
        middle = (low + high) // 2
        first = select(events.c.at).where(events.c.id >= middle).order_by(events.c.id).limit(1)
        at = await connection.scalar(first)
        if at is None or at >= moment:
            high = middle
        else:
            low = middle + 1
    return int(low)
