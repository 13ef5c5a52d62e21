"""Walks: the ways along an index on which a list finds its dispositions, newest first.

A walk has lanes, pairs of values that an index begins with ("account 5, agent a17"); of each lane the index gives the
newest first, and the newest of all lanes are what is wanted. Whatever else has to hold is looked at on the way. Of that
nobody knows how rare it is, so a walk with other conditions ends after a *stretch*, whatever it has found by then: its
last row says where to go on (``docs/decisions/0017-lists-walk-along-indexes.md``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Integer,
    Label,
    Select,
    Text,
    UnaryExpression,
    Uuid,
    and_,
    bindparam,
    case,
    false,
    func,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
)

from app.domain.lifecycle import State
from app.storage.tables import calls, dispositions, failure_members, lookups

ACCOUNTS = frozenset({"accounts", "only_accounts"})
"""The conditions that a walk stands for whose lanes are those of accounts."""


_TELLING = (dispositions, lookups)  # whose rows have all that lasts

FIRST, LAST = UUID(int=0), UUID(int=(1 << 128) - 1)
"""Nothing has these ids."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which ids a page lies (both are left out), and which way it is read."""

    over: UUID = FIRST
    under: UUID = LAST
    newer: bool = False

    def order(self, *columns: ColumnElement[Any]) -> list[UnaryExpression[Any]]:
        """The order in which a page is read."""
        return [column.asc() if self.newer else column.desc() for column in columns]

    def last(self, ids: Iterable[UUID]) -> UUID:
        """Of several lanes that end somewhere: where the first of them does. Behind it nothing is known."""
        return min(ids) if self.newer else max(ids)


IN_ORDER = text("SELECT set_config('enable_sort', 'off', true), set_config('enable_incremental_sort', 'off', true)")
"""Before statements with walks, in their transaction: what is read comes in order, by an index, or not at all."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What has to hold beside that which a walk stands for.

    ``lasting``: values by the name of a column that never changes, and that ``lookups`` has as well. ``others`` are
    conditions on ``dispositions``.
    """

    lasting: Mapping[str, Sequence[object]]
    others: Sequence[ColumnElement[bool]]

    def __bool__(self) -> bool:
        return bool(self.lasting or self.others)

    def seen_from(self, source: FromClause) -> ColumnElement[bool]:
        """Those that a walk's own rows can tell."""
        lasting = [source.c[name].in_(values) for name, values in self.lasting.items()] if source in _TELLING else []
        return and_(true(), *lasting, *(self.others if source is dispositions else ()))

    def unseen_from(self, source: FromClause) -> Sequence[ColumnElement[bool]]:
        """Those for which each disposition itself has to be looked up."""
        if source is dispositions:
            return ()
        lasting = [] if source in _TELLING else [dispositions.c[name].in_(them) for name, them in self.lasting.items()]
        return [*lasting, *self.others]


@dataclass(frozen=True, slots=True)
class Stretch:
    """How far a lane is walked along at most: so many ``rows`` of which an index tells all, and so many dispositions
    that are ``looked_up``, each somewhere else in the table, which costs ten times as much."""

    rows: int
    looked_up: int

    def shared(self, lanes: int, *, least: int) -> Stretch:
        """Its part, if there are so many lanes with many rows."""
        return Stretch(max(self.rows // max(lanes, 1), least), max(self.looked_up // max(lanes, 1), least))


@dataclass(frozen=True, slots=True)
class Walk:
    """A way along an index: its columns up to ``id``, which it gives in order, and the values of a lane for the others.

    Where a lane begins and ends is told as one comparison of all of these columns: only this index gives their order,
    and sorting is forbidden (``IN_ORDER``), so the planner is left no other way. By ``account_id = … AND state = …
    ORDER BY id`` it would go through the primary key for what it holds to be frequent, and all of it for what is not.
    """

    source: FromClause
    id: ColumnElement[UUID]
    keys: Sequence[ColumnElement[Any]] = ()
    lanes: FromClause | None = None
    values: Sequence[ColumnElement[Any]] = ()
    where: Sequence[ColumnElement[bool]] = ()
    covers: frozenset[str] = field(default_factory=frozenset)  # the conditions of the filter that it stands for

    def for_(self, *conditions: str) -> Walk:
        """The same, standing for these conditions of the filter as well: whatever is on it fulfils them."""
        return replace(self, covers=self.covers.union(conditions))

    def ids(self, also: Conditions, bounds: Bounds, *, limit: int, stretch: Stretch) -> Select[Any]:
        """Up to ``limit`` rows of each lane, in order: ``id``, whether all ``holds``, and whether it is the ``last``
        that was looked at. Of those that don't hold only a last one is given."""
        if not also:
            rows = self._rows(bounds, true().label("holds"), false().label("last"))
            return self._in_each_lane(rows.limit(limit))
        order = bounds.order(*self.keys, self.id)
        holds, rest = also.seen_from(self.source), also.unseen_from(self.source)
        place = func.row_number().over(order_by=order)
        number = func.sum(case((holds, 1), else_=0)).over(order_by=order, rows=(None, 0)) if rest else literal(0)
        rows = self._rows(bounds, holds.label("holds"), place.label("place"), number.label("number"), *self._named_keys)
        far = stretch.looked_up if self.source is dispositions else stretch.rows
        seen = rows.limit(far).correlate(self.lanes).subquery("seen")  # the lanes are two floors above it
        ended = seen.c.place == far
        if rest:
            ended = or_(ended, and_(seen.c.holds, seen.c.number == stretch.looked_up))
        found = _looked_up(seen, rest, ended, stretch)
        keys = (seen.c[key.name] for key in self._named_keys)
        return self._in_each_lane(found.order_by(*bounds.order(*keys, seen.c.id)).limit(limit))

    def at(self, place: int, bounds: Bounds) -> Select[Any]:
        """The ``id`` of the row at that place, of each lane that has so many."""
        return self._in_each_lane(self._rows(bounds).offset(place - 1).limit(1))

    @property
    def _named_keys(self) -> list[Label[Any]]:
        return [key.label(f"key_{number}") for number, key in enumerate(self.keys)]

    def _rows(self, bounds: Bounds, *columns: ColumnElement[Any]) -> Select[Any]:
        key, over, under = (
            tuple_(*self.keys, self.id),
            tuple_(*self.values, literal(bounds.over, Uuid())),
            tuple_(*self.values, literal(bounds.under, Uuid())),
        )
        rows = (
            select(self.id.label("id"), *columns).select_from(self.source).where(*self.where, key > over, key < under)
        )
        return rows.order_by(*bounds.order(*self.keys, self.id))

    def _in_each_lane(self, rows: Select[Any]) -> Select[Any]:
        if self.lanes is None:
            return select(rows.subquery())
        lane = rows.lateral("walked")
        return select(lane).select_from(self.lanes.join(lane, true()))


def _looked_up(
    seen: FromClause, conditions: Sequence[ColumnElement[bool]], ended: ColumnElement[bool], stretch: Stretch
) -> Select[Any]:
    """The rows for which the conditions on their dispositions hold, too, and those at which a stretch has ended."""
    source: FromClause = seen
    holds: ColumnElement[bool] = seen.c.holds
    if conditions:
        # ``OFFSET 0``: one after the other, along the walk, and not all that the conditions hold for first.
        near = and_(seen.c.holds, seen.c.number <= stretch.looked_up, dispositions.c.id == seen.c.id)
        of_it = select(true().label("found")).where(near, *conditions).offset(0).lateral("of_it")
        source, holds = seen.outerjoin(of_it, true()), of_it.c.found.is_not(None)
    rows = select(seen.c.id, holds.label("holds"), ended.label("last")).select_from(source)
    return rows.where(or_(holds, ended))


def by_age() -> Walk:
    """Through all of them."""
    return Walk(dispositions, dispositions.c.id)


def by_id(ids: Sequence[UUID]) -> Walk:
    """To these."""
    return Walk(dispositions, dispositions.c.id, where=[dispositions.c.id == func.any(_array(ids, Uuid()))])


def by_reference(references: Sequence[str]) -> Walk:
    """Along the references."""
    lane = func.unnest(_array(references, Text())).table_valued("value").render_derived(name="lane")
    key = dispositions.c.reference
    return Walk(dispositions, dispositions.c.id, [key], lane, [lane.c.value], [key.is_not(None)])


def by_ucid(ucids: Sequence[str], own: Sequence[int]) -> Walk:
    """Through the few of each call."""
    lane = (
        select(calls.c.id)
        .where(calls.c.ucid == func.any(_array(ucids, Text())), calls.c.account_id == func.any(_array(own, Integer())))
        .subquery("lane")
    )
    # ``OFFSET 0``: they come in the order of their index, which is not that of their ids, and have to be sorted.
    here = (
        select(dispositions.c.id)
        .where(dispositions.c.call_id == lane.c.id)
        .correlate(lane)
        .offset(0)
        .subquery("of_call")
    )
    return Walk(here, here.c.id, lanes=lane, covers=ACCOUNTS)


def by_failure(ids: Sequence[UUID]) -> Walk:
    """Along the members of these failures."""
    lane = func.unnest(_array(ids, Uuid())).table_valued("id").render_derived(name="lane")
    members = failure_members.c
    return Walk(failure_members, members.disposition_id, [members.failure_id], lane, [lane.c.id])


def by_lookup(column: ColumnElement[Any], values: Sequence[str], own: Sequence[int]) -> Walk:
    """Along an index of ``lookups``, which has what never changes."""
    there = [] if not column.nullable else [column.is_not(None)]  # so says the index
    return _by_account(lookups, lookups.c.disposition_id, column, product(own, values), there)


def by_failed(column: ColumnElement[Any], values: Sequence[str], own: Sequence[int]) -> Walk:
    """Along an index of what failed. Ops people ask for nothing as often, and it is a small part of all."""
    there = [dispositions.c.state == _written(State.FAILED.value), *([column.is_not(None)] if column.nullable else [])]
    return _by_account(dispositions, dispositions.c.id, column, product(own, values), there)


def by_state(lanes: Iterable[tuple[int, str]]) -> Walk:
    """Along the stored states of accounts."""
    return _by_account(dispositions, dispositions.c.id, dispositions.c.state, lanes).for_("states")


def _by_account(
    source: FromClause,
    identity: ColumnElement[UUID],
    column: ColumnElement[Any],
    lanes: Iterable[tuple[int, str]],
    where: Sequence[ColumnElement[bool]] = (),
) -> Walk:
    lane = _pairs(lanes)
    keys, values = [source.c.account_id, column], [lane.c.account_id, lane.c.value]
    return Walk(source, identity, keys, lane, values, where, ACCOUNTS)


def _written(value: object) -> Any:
    """A constant of ours as text of the statement: of a parameter the planner can't know that an index is for it."""
    return bindparam(None, value, literal_execute=True, unique=True)


def _pairs(lanes: Iterable[tuple[int, str]]) -> FromClause:
    pairs = [*lanes]
    ids, values = [account_id for account_id, _ in pairs], [value for _, value in pairs]
    unnested = func.unnest(_array(ids, Integer()), _array(values, Text()))
    return unnested.table_valued("account_id", "value").render_derived(name="lane")


def _array(values: Sequence[Any], of: Any) -> Any:
    return bindparam(None, [*values], ARRAY(of), unique=True)
