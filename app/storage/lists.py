"""Lists: pages of dispositions, newest first, each found by walking along one index.

The planner is not asked how to find "the newest hundred of these": from its statistics it would now and then rather go
through all dispositions in their order, and find the hundredth after a million. So a page is put together from walks
(``walks.py``), and none looks at more rows than its stretch: what a page costs does not grow with the tables, whatever
the filter. A page may so be short, or empty, and have a next one
(``docs/decisions/0017-lists-walk-along-indexes.md``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, false, func, literal, or_, select, true, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.cursor import Cursor
from app.domain.filters import NOT_FINAL, Filter
from app.domain.lifecycle import WAITING, Cause, State
from app.storage import reports, search, walks
from app.storage.filters import failed_by
from app.storage.tables import accounts, dispositions, failure_members, lookups
from app.storage.walks import FIRST, LAST, Bounds, Conditions, Stretch, Walk

STRETCH = Stretch(rows=8_000, looked_up=1_500)
"""Of one page, shared by the lanes of its walk."""

_PACE = 200  # rows of a lane after which walks are compared: which of them has come furthest?

_SKEW = timedelta(minutes=1)
"""How far the clock that made an id may be from the database's, and how long a request may wait to be stored."""

_LASTING = {"agent_id": "agent_ids", "did": "dids", "disposition": "dispositions", "source": "sources"}
"""Columns that never change, and the attribute of the filter for each."""

_STORED: list[State] = [state for state in State if state is not State.HELD]


@dataclass(frozen=True, slots=True)
class Account:
    """An account as far as a list has to know it."""

    id: int
    customer: str
    on_hold: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A page's rows, newest first. ``more``: there are others further on in the direction that it was read.

    ``end``: so far was looked, and the page is not full; None if it is, or if there is nothing behind it.
    """

    rows: Sequence[Row[Any]]
    more: bool
    end: UUID | None
    total: int | None  # of all that the filter takes; None where it is not known without counting


@dataclass(frozen=True, slots=True)
class _Way:
    """A walk with what has to hold beside it, and where those of its lanes are that have many rows, at ``_PACE``."""

    walk: Walk
    also: Conditions
    reached: Sequence[UUID] = ()

    def ids(self, bounds: Bounds, limit: int, stretch: Stretch) -> Select[Any]:
        # What a full page needs is never too far.
        own = stretch.shared(len(self.reached), least=limit)
        return self.walk.ids(self.also, bounds, limit=limit, stretch=own)


async def page(
    connection: AsyncConnection, wanted: Filter, cursor: Cursor | None, *, limit: int, stretch: Stretch = STRETCH
) -> Found:
    """Up to ``limit`` of the dispositions that the filter takes, from the cursor on."""
    own = await _accounts(connection, wanted)
    bounds = _bounds(wanted, cursor)
    ways = await _ways(connection, wanted, own, bounds)
    found = union_all(*(way.ids(bounds, limit + 1, stretch) for way in ways)).subquery("found")
    both = (func.bool_or(found.c.holds).label("holds"), func.bool_or(found.c.last).label("last"))
    merged = select(found.c.id, *both).group_by(found.c.id).order_by(*bounds.order(found.c.id)).limit(limit + 1)
    first = merged.subquery("first")
    # ``OFFSET 0``: each by its id, and not all of a table to find a hundred.
    whole = reports.DISPOSITIONS.where(dispositions.c.id == first.c.id).offset(0).lateral("whole")
    shown = select(whole, first.c.holds, first.c.last).join_from(first, whole, true())
    rows = (await connection.execute(shown.order_by(*bounds.order(first.c.id)))).all()
    return _found(rows, bounds, limit, await _total(connection, wanted, own))


def _found(rows: Sequence[Row[Any]], bounds: Bounds, limit: int, total: int | None) -> Found:
    """The page of these rows: up to the first at which a walk ended, since behind it others may be missing."""
    ended = next((place for place, row in enumerate(rows) if row.last), None)
    end = None
    if ended is not None and ended + bool(rows[ended].holds) <= limit:
        end, kept = rows[ended].id, [row for row in rows[: ended + 1] if row.holds]
    else:
        kept = [*rows[:limit]]
    return Found(kept[::-1] if bounds.newer else kept, end is not None or len(rows) > limit, end, total)


async def _ways(connection: AsyncConnection, wanted: Filter, own: Sequence[Account], bounds: Bounds) -> Sequence[_Way]:
    """The ways that find what the filter takes: for a search one along each meaning that the text may have; else one
    along one of the conditions. If it leaves others to be looked at, it is that whose rows are fewest in a given time.
    """
    if wanted.search is not None:
        possible = _meanings(await search.meanings(connection, wanted.search, by_number=wanted.by_number), own)
    else:
        possible = _possible(wanted, own)
    ways = [_Way(walk, _conditions(_without(wanted, walk), own)) for walk in possible]
    await connection.execute(walks.IN_ORDER)
    if wanted.search is not None:
        return await _surveyed(connection, ways, bounds) if any(way.also for way in ways) else ways
    exact = next((way for way in ways if not way.also), None)
    return [exact or _furthest(await _surveyed(connection, ways, bounds), bounds)]


async def _surveyed(connection: AsyncConnection, ways: Sequence[_Way], bounds: Bounds) -> list[_Way]:
    """The ways with how far each gets."""
    paces = [
        select(literal(number).label("way"), at.c.id)
        for number, at in enumerate(way.walk.at(_PACE, bounds).subquery() for way in ways)
    ]
    rows = (await connection.execute(union_all(*paces))).all()
    return [replace(way, reached=[row.id for row in rows if row.way == number]) for number, way in enumerate(ways)]


def _furthest(ways: Sequence[_Way], bounds: Bounds) -> _Way:
    """The way on which as many rows lead furthest: one that comes to its end, or else the one with the rarest rows."""
    ended = [way for way in ways if not way.reached]
    if ended:
        return ended[0]
    by_reach = sorted(ways, key=lambda way: bounds.last(way.reached))
    return by_reach[-1] if bounds.newer else by_reach[0]


def _without(wanted: Filter, walk: Walk) -> Filter:
    """What the filter says beside that which the walk stands for."""
    nothing = Filter()
    return replace(wanted, **{name: getattr(nothing, name) for name in walk.covers})


async def _accounts(connection: AsyncConnection, wanted: Filter) -> list[Account]:
    """Those whose dispositions the filter may take."""
    rows = await connection.execute(
        select(accounts.c.id, accounts.c.customer, accounts.c.hold_cause.is_not(None)).order_by(accounts.c.id)
    )
    return [
        one
        for one in (Account(*row) for row in rows)
        if (not wanted.accounts or one.customer in wanted.accounts)
        and (not wanted.only_accounts or one.customer in wanted.only_accounts)
    ]


def _bounds(wanted: Filter, cursor: Cursor | None) -> Bounds:
    """The cursor and the filter's times as ids, which begin with the time at which they were made."""
    over = _id_at(wanted.since - _SKEW) if wanted.since else FIRST
    under = _id_at(wanted.until + _SKEW) if wanted.until else LAST
    if cursor is None:
        return Bounds(over, under)
    if cursor.newer:
        return Bounds(max(over, cursor.id), under, newer=True)
    return Bounds(over, min(under, cursor.id))


def _id_at(moment: datetime) -> UUID:
    """The least UUID of version 7 that is made at that time."""
    return UUID(int=max(int(moment.timestamp() * 1000), 0) << 80)


def _possible(wanted: Filter, own: Sequence[Account]) -> list[Walk]:
    """One walk for each condition that has an index."""
    ids = [one.id for one in own]
    lasting, failed = _lasting(wanted), _takes_failed_only(wanted)
    found: list[Walk] = []
    if wanted.ids:
        found.append(walks.by_id(wanted.ids).for_("ids"))
    if wanted.references:
        found.append(walks.by_reference(wanted.references).for_("references"))
    if wanted.ucids:
        found.append(walks.by_ucid(wanted.ucids, ids).for_("ucids"))
    if wanted.failures:
        found.append(walks.by_failure(wanted.failures).for_("failures"))
    for name, values in lasting.items():
        if failed:
            found.append(walks.by_failed(dispositions.c[name], values, ids).for_(_LASTING[name], "states"))
        found.append(walks.by_lookup(lookups.c[name], values, ids).for_(_LASTING[name]))
    if wanted.causes:
        stored = _stored_causes(wanted.causes)
        covered = [*(["causes"] * (stored == wanted.causes)), *(["states"] * failed)]
        found.append(walks.by_failed(dispositions.c.cause, stored, ids).for_(*covered))
    if wanted.states or (not found and (wanted.accounts or wanted.only_accounts)):
        found.append(walks.by_state(_lanes(wanted, own)))
    return found or [walks.by_age()]


def _takes_failed_only(wanted: Filter) -> bool:
    """Whether nothing but failed ones can be found. Only they have a cause."""
    return [*wanted.states] == [State.FAILED] or bool(wanted.causes and State.FAILED in (wanted.states or _STORED))


def _meanings(found: search.Meanings, own: Sequence[Account]) -> list[Walk]:
    """One walk for each thing that the text may be."""
    ids = [one.id for one in own]
    return [
        *([walks.by_id(found.ids)] if found.ids else []),
        *([walks.by_failure(found.failures)] if found.failures else []),
        *([walks.by_ucid(found.ucids, ids)] if found.ucids else []),
        walks.by_reference([found.text]),
        walks.by_lookup(lookups.c.agent_id, [found.text], ids),
        *([walks.by_lookup(lookups.c.did, found.numbers, ids)] if found.numbers else []),
        walks.by_lookup(lookups.c.disposition, [found.text], ids),
    ]


def _stored_causes(causes: Sequence[str]) -> Sequence[str]:
    """The causes under which those stand that the filter's causes find (``filters.failed_by``)."""
    return [*dict.fromkeys((*causes, *Cause))] if NOT_FINAL.intersection(causes) else causes


def _lanes(wanted: Filter, own: Sequence[Account]) -> list[tuple[int, str]]:
    """The stored states that the filter takes, by account: what waits is held where the account is on hold."""
    return [(one.id, state.value) for one in own for state in _states(wanted, on_hold=one.on_hold)]


def _states(wanted: Filter, *, on_hold: bool) -> list[State]:
    if not wanted.states:
        return _STORED
    shows_as = {state: State.HELD if on_hold and state in WAITING else state for state in _STORED}
    return [state for state in _STORED if shows_as[state] in wanted.states]


def _lasting(wanted: Filter) -> dict[str, Sequence[Any]]:
    """The values that the filter takes, by column that never changes."""
    found = {name: getattr(wanted, attribute) for name, attribute in _LASTING.items()}
    return {name: values for name, values in found.items() if values}


def _conditions(wanted: Filter, own: Sequence[Account]) -> Conditions:
    """All that the filter says."""
    here = dispositions.c
    lasting = _lasting(wanted)
    if wanted.accounts or wanted.only_accounts:
        lasting["account_id"] = [one.id for one in own]
    columns: Mapping[ColumnElement[Any], Sequence[object]] = {
        here.id: wanted.ids,
        here.ucid: wanted.ucids,
        here.reference: wanted.references,
    }
    others: list[ColumnElement[bool]] = [column.in_(values) for column, values in columns.items() if values]
    if wanted.states:
        held, free = ([one.id for one in own if one.on_hold is on_hold] for on_hold in (True, False))
        others.append(or_(_in_states(wanted, held, on_hold=True), _in_states(wanted, free, on_hold=False)))
    if wanted.causes:
        others.append(failed_by(wanted.causes))
    if wanted.failures:
        of_these = failure_members.c.failure_id.in_(wanted.failures)
        others.append(here.id.in_(select(failure_members.c.disposition_id).where(of_these)))
    if wanted.since:
        others.append(here.created_at >= wanted.since)
    if wanted.until:
        others.append(here.created_at < wanted.until)
    return Conditions(lasting, others)


def _in_states(wanted: Filter, account_ids: Sequence[int], *, on_hold: bool) -> ColumnElement[bool]:
    states = [state.value for state in _states(wanted, on_hold=on_hold)]
    if not account_ids or not states:
        return false()
    return and_(dispositions.c.account_id.in_(account_ids), dispositions.c.state.in_(states))


async def _total(connection: AsyncConnection, wanted: Filter, own: Sequence[Account]) -> int | None:
    """How many the filter takes, where the counts tell: by state, cause and account, or one failure's."""
    if NOT_FINAL.intersection(wanted.causes):
        return None
    plain = Filter(states=wanted.states, causes=wanted.causes, accounts=wanted.accounts)
    if replace(wanted, only_accounts=frozenset(), by_number=True) == plain:
        return _sum(await reports.counts(connection), own, wanted)
    return None


def _sum(counts: Sequence[Row[Any]], own: Sequence[Account], wanted: Filter) -> int:
    by_name = {one.customer: one for one in own}
    total = 0
    for row in counts:
        name, _, cause = row.key.partition(":")
        if row.kind != "state" or row.account not in by_name or (wanted.causes and cause not in wanted.causes):
            continue
        if name in _states(wanted, on_hold=by_name[row.account].on_hold):
            total += row.n
    return total
