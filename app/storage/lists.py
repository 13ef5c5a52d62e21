"""Lists: pages of dispositions, newest first, each found by walking along one index.

The planner is not asked how to find "the newest hundred of these": from its statistics it would now and then rather go
through all dispositions in their order, and find the hundredth after a million. So a page is put together from *walks*.
A walk has lanes, pairs of values that an index begins with ("account 5, agent a17"); of each lane the index gives the
newest first, and the newest of all lanes are the page. Whatever else the filter says is looked at on the way
(``docs/decisions/0017-lists-walk-along-indexes.md``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Integer,
    Row,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    false,
    func,
    or_,
    select,
    true,
    union,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.cursor import Cursor
from app.domain.filters import NOT_FINAL, Filter
from app.domain.lifecycle import WAITING, Cause, State
from app.storage import reports, search
from app.storage.filters import failed_by
from app.storage.tables import accounts, calls, dispositions, failure_members, lookups

_MANY = 1_000  # rows of a walk that are counted before another one is looked at
_FEW = 200  # so few that no other walk is looked at
_UNKNOWN = 100_000  # how many those are taken for that have more

_SKEW = timedelta(hours=1)
"""How far the clock that made an id may be from the database's, and how long a request may wait to be stored."""

_STORED: list[State] = [state for state in State if state is not State.HELD]


@dataclass(frozen=True, slots=True)
class Account:
    """An account as far as a list has to know it."""

    id: int
    customer: str
    on_hold: bool


@dataclass(frozen=True, slots=True)
class Walk:
    """A way along an index. ``id`` is the column that it gives in order, ``where`` what ties it to its lane."""

    lanes: FromClause | None
    source: FromClause
    id: ColumnElement[UUID]
    where: Sequence[ColumnElement[bool]] = ()
    number: int | None = None  # of its rows, if it is known
    covers: str | None = None  # the attribute of the filter that it stands for

    def ids(self, others: Sequence[ColumnElement[bool]], bounds: Bounds, limit: int) -> Select[Any]:
        """The ids of up to ``limit`` dispositions, in order, for which the other conditions hold as well."""
        source, where = self.source, [*self.where, *bounds.of(self.id)]
        if source is dispositions:
            where += others
        elif others:
            # ``OFFSET 0``: one after the other, along the walk, and not all that the conditions hold for first.
            of_it = select(true()).where(dispositions.c.id == self.id, *others).offset(0).lateral("of_it")
            source = source.join(of_it, true())
        order = self.id.asc() if bounds.newer else self.id.desc()
        walked = select(self.id.label("id")).select_from(source).where(*where).order_by(order).limit(limit)
        if self.lanes is None:
            return walked
        lane = walked.lateral("walked")
        merged = select(lane.c.id).select_from(self.lanes.join(lane, true()))
        return merged.order_by(lane.c.id.asc() if bounds.newer else lane.c.id.desc()).limit(limit)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which ids a page lies (both are left out), and which way it is read."""

    over: UUID | None
    under: UUID | None
    newer: bool

    def of(self, column: ColumnElement[UUID]) -> list[ColumnElement[bool]]:
        """As conditions on the column that a walk is ordered by."""
        found = []
        if self.over is not None:
            found.append(column > self.over)
        if self.under is not None:
            found.append(column < self.under)
        return found


@dataclass(frozen=True, slots=True)
class Found:
    """A page's rows, newest first. ``more``: there are others further on in the direction that it was read."""

    rows: Sequence[Row[Any]]
    more: bool
    total: int | None  # of all that the filter takes; None where it is not known without counting


async def page(connection: AsyncConnection, wanted: Filter, cursor: Cursor | None, *, limit: int) -> Found:
    """Up to ``limit`` of the dispositions that the filter takes, from the cursor on."""
    own = await _accounts(connection, wanted)
    bounds = _bounds(wanted, cursor)
    walks = [*await _walks(connection, wanted, own)]
    ids = [walk.ids(_conditions(_without(wanted, walk), own), bounds, limit + 1) for walk in walks]
    found = union(*(one.subquery().select() for one in ids)).subquery("found")
    order = found.c.id.asc() if bounds.newer else found.c.id.desc()
    first = select(found.c.id).order_by(order).limit(limit + 1).subquery("first")
    newest = reports.DISPOSITIONS.join(first, first.c.id == dispositions.c.id).order_by(dispositions.c.id.desc())
    rows = (await connection.execute(newest)).all()
    more = len(rows) > limit
    kept = (rows[1:] if bounds.newer else rows[:limit]) if more else rows
    return Found(kept, more, await _total(connection, wanted, own))


def _without(wanted: Filter, walk: Walk) -> Filter:
    """What the filter says beside that which the walk stands for."""
    return replace(wanted, **{walk.covers: ()}) if walk.covers else wanted  # type: ignore[arg-type]  # its sequences


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
    over = [_id_at(wanted.since - _SKEW)] if wanted.since else []
    under = [_id_at(wanted.until + _SKEW)] if wanted.until else []
    if cursor is not None:
        (over if cursor.newer else under).append(cursor.id)
    return Bounds(max(over, default=None), min(under, default=None), cursor is not None and cursor.newer)


def _id_at(moment: datetime) -> UUID:
    """The least UUID of version 7 that is made at that time."""
    return UUID(int=max(int(moment.timestamp() * 1000), 0) << 80)


async def _walks(connection: AsyncConnection, wanted: Filter, own: Sequence[Account]) -> Sequence[Walk]:
    """The walks that find what the filter takes: one of the conditions, the one that holds for the fewest; or, for a
    search, one for each meaning that the text may have."""
    if wanted.search is not None:
        return [*_meanings(await search.meanings(connection, wanted.search), own)]
    possible = [*_possible(wanted, own, await reports.counts(connection))]
    if len(possible) == 1:
        return possible
    numbers: list[int] = []
    for walk in possible:
        numbers.append(await _number(connection, walk))
        if numbers[-1] <= _FEW:
            return [walk]
    return [possible[numbers.index(min(numbers))]]


def _possible(wanted: Filter, own: Sequence[Account], counts: Sequence[Row[Any]]) -> Iterator[Walk]:
    """One walk for each condition that has an index."""
    ids = [one.id for one in own]
    if wanted.ids:
        yield _by_id(wanted.ids)
    if wanted.references:
        yield _by(dispositions.c.reference, wanted.references, "references")
    if wanted.ucids:
        yield _by_ucid(wanted.ucids, ids)
    if wanted.failures:
        yield replace(_by_failure(wanted.failures), covers="failures")
    if wanted.agent_ids and [*wanted.states] == [State.FAILED]:
        yield _by_failed_agent(wanted.agent_ids, ids)
    for column, values, covered in (
        (lookups.c.agent_id, wanted.agent_ids, "agent_ids"),
        (lookups.c.did, wanted.dids, "dids"),
        (lookups.c.disposition, wanted.dispositions, "dispositions"),
    ):
        if values:
            yield replace(_by_lookup(column, values, ids), covers=covered)
    if wanted.sources:
        yield _by(dispositions.c.source, wanted.sources, "sources")
    if wanted.causes:
        stored = _stored_causes(wanted.causes)
        yield _by_cause(stored, ids, _sum(counts, own, replace(wanted, causes=stored)))
    if wanted.states or wanted.accounts or wanted.only_accounts:
        yield _by_state(_lanes(wanted, own), _sum(counts, own, replace(wanted, causes=())))
    else:
        yield Walk(None, dispositions, dispositions.c.id, number=sum(row.n for row in counts if row.kind == "state"))


def _meanings(found: search.Meanings, own: Sequence[Account]) -> Iterator[Walk]:
    ids = [one.id for one in own]
    if found.ids:
        yield _by_id(found.ids)
    if found.failures:
        yield _by_failure(found.failures)
    if found.ucids:
        yield _by_ucid(found.ucids, ids)
    yield _by(dispositions.c.reference, [found.text])
    for column, values in (
        (lookups.c.agent_id, [found.text]),
        (lookups.c.did, found.numbers),
        (lookups.c.disposition, [found.text]),
    ):
        if values:
            yield _by_lookup(column, values, ids)


def _by_id(ids: Sequence[UUID]) -> Walk:
    return Walk(None, dispositions, dispositions.c.id, [dispositions.c.id == func.any(_array(ids, Uuid()))], len(ids))


def _by(column: ColumnElement[Any], values: Sequence[str], covers: str | None = None) -> Walk:
    lane = func.unnest(_array(values, Text())).table_valued("value").render_derived(name="lane")
    return Walk(lane, dispositions, dispositions.c.id, [column == lane.c.value], covers=covers)


def _by_ucid(ucids: Sequence[str], own: Sequence[int]) -> Walk:
    lane = (
        select(calls.c.id)
        .where(calls.c.ucid == func.any(_array(ucids, Text())), calls.c.account_id == func.any(_array(own, Integer())))
        .subquery("lane")
    )
    return Walk(lane, dispositions, dispositions.c.id, [dispositions.c.call_id == lane.c.id])


def _by_failure(ids: Sequence[UUID]) -> Walk:
    lane = func.unnest(_array(ids, Uuid())).table_valued("id").render_derived(name="lane")
    members = failure_members
    return Walk(lane, members, members.c.disposition_id, [members.c.failure_id == lane.c.id])


def _by_lookup(column: ColumnElement[Any], values: Sequence[str], own: Sequence[int]) -> Walk:
    lane = _pairs(product(own, values))
    where = [lookups.c.account_id == lane.c.account_id, column == lane.c.value]
    return Walk(lane, lookups, lookups.c.disposition_id, where)


def _stored_causes(causes: Sequence[str]) -> Sequence[str]:
    """The causes under which those stand that the filter's causes find (``filters.failed_by``)."""
    return [*dict.fromkeys((*causes, *Cause))] if NOT_FINAL.intersection(causes) else causes


def _by_cause(causes: Sequence[str], own: Sequence[int], number: int) -> Walk:
    lane = _pairs(product(own, causes))
    here = dispositions.c
    where = [here.account_id == lane.c.account_id, here.cause == lane.c.value, here.state == State.FAILED.value]
    return Walk(lane, dispositions, here.id, where, number)


def _by_failed_agent(agent_ids: Sequence[str], own: Sequence[int]) -> Walk:
    """What ops people ask for most. Both conditions may hold for many rows, and together for almost none."""
    lane = _pairs(product(own, agent_ids))
    here = dispositions.c
    where = [here.account_id == lane.c.account_id, here.agent_id == lane.c.value, here.state == State.FAILED.value]
    return Walk(lane, dispositions, here.id, where)


def _by_state(lanes: Sequence[tuple[int, str]], number: int) -> Walk:
    lane = _pairs(lanes)
    where = [dispositions.c.account_id == lane.c.account_id, dispositions.c.state == lane.c.value]
    return Walk(lane, dispositions, dispositions.c.id, where, number)


def _pairs(lanes: Iterator[tuple[int, str]] | Sequence[tuple[int, str]]) -> FromClause:
    pairs = [*lanes]
    ids, values = [account_id for account_id, _ in pairs], [value for _, value in pairs]
    unnested = func.unnest(_array(ids, Integer()), _array(values, Text()))
    return unnested.table_valued("account_id", "value").render_derived(name="lane")


def _array(values: Sequence[Any], of: Any) -> Any:
    return bindparam(None, [*values], ARRAY(of), unique=True)


def _lanes(wanted: Filter, own: Sequence[Account]) -> list[tuple[int, str]]:
    """The stored states that the filter takes, by account: what waits is held where the account is on hold."""
    return [(one.id, state.value) for one in own for state in _states(wanted, on_hold=one.on_hold)]


def _states(wanted: Filter, *, on_hold: bool) -> list[State]:
    if not wanted.states:
        return _STORED
    shows_as = {state: State.HELD if on_hold and state in WAITING else state for state in _STORED}
    return [state for state in _STORED if shows_as[state] in wanted.states]


def _conditions(wanted: Filter, own: Sequence[Account]) -> list[ColumnElement[bool]]:
    """All that the filter says, as conditions on ``dispositions``."""
    here = dispositions.c
    found: list[ColumnElement[bool]] = []
    if wanted.states:
        held, free = ([one.id for one in own if one.on_hold is on_hold] for on_hold in (True, False))
        found.append(or_(_in_states(wanted, held, on_hold=True), _in_states(wanted, free, on_hold=False)))
    elif wanted.accounts or wanted.only_accounts:
        found.append(here.account_id == func.any(_array([one.id for one in own], Integer())))
    columns: Mapping[ColumnElement[Any], Sequence[object]] = {
        here.id: wanted.ids,
        here.ucid: wanted.ucids,
        here.agent_id: wanted.agent_ids,
        here.did: wanted.dids,
        here.disposition: wanted.dispositions,
        here.source: wanted.sources,
        here.reference: wanted.references,
    }
    found += [column.in_(values) for column, values in columns.items() if values]
    if wanted.causes:
        found.append(failed_by(wanted.causes))
    if wanted.failures:
        of_these = failure_members.c.failure_id.in_(wanted.failures)
        found.append(here.id.in_(select(failure_members.c.disposition_id).where(of_these)))
    if wanted.since:
        found.append(here.created_at >= wanted.since)
    if wanted.until:
        found.append(here.created_at < wanted.until)
    return found


def _in_states(wanted: Filter, account_ids: Sequence[int], *, on_hold: bool) -> ColumnElement[bool]:
    states = [state.value for state in _states(wanted, on_hold=on_hold)]
    if not account_ids or not states:
        return false()
    here = dispositions.c
    return and_(here.account_id == func.any(_array(account_ids, Integer())), here.state.in_(states))


async def _number(connection: AsyncConnection, walk: Walk) -> int:
    """How many rows a walk has, or, where that is not known, whether they are many."""
    if walk.number is not None:
        return walk.number
    ids = walk.ids((), Bounds(None, None, newer=False), _MANY).subquery()
    number = await connection.scalar(select(func.count()).select_from(ids))
    return int(number or 0) if number != _MANY else _UNKNOWN


async def _total(connection: AsyncConnection, wanted: Filter, own: Sequence[Account]) -> int | None:
    """How many the filter takes, where the counts tell: by state, cause and account, or one failure's."""
    if NOT_FINAL.intersection(wanted.causes):
        return None
    plain = Filter(states=wanted.states, causes=wanted.causes, accounts=wanted.accounts)
    if replace(wanted, only_accounts=frozenset()) == plain:
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
