"""Judging: which of the dispositions that a filter takes an action can be done to, and why not to the others.

One expression says it when a replay is planned, when its items are frozen, and again when each one is done.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Select, String, and_, case, exists, false, func, literal, not_, null, or_, select

from app.domain.corrections import ValueMap
from app.domain.lifecycle import CANCEL, SEND_AGAIN, Edge, State
from app.domain.replays import Action, Order, Why
from app.storage.filters import IS_WAITING, ON_HOLD
from app.storage.tables import accounts, dispositions

_SHOWN = case((and_(IS_WAITING, ON_HOLD), literal(State.HELD.value, String)), else_=dispositions.c.state)

# What was cancelled was never sent, and what this very disposition made stale is older, whatever its number.
_NEWER = dispositions.alias("newer")
_HAS_NEWER = exists().where(
    _NEWER.c.call_id == dispositions.c.call_id,
    _NEWER.c.seq > dispositions.c.seq,
    _NEWER.c.state != State.CANCELLED.value,
    _NEWER.c.superseded_by.is_distinct_from(dispositions.c.id),
)


def judged(order: Order) -> Select[tuple[object, int, str | None]]:
    """Each disposition with its account's id and ``why`` it can't be done; null if it can."""
    return select(dispositions.c.id, dispositions.c.account_id, _why_not(order).label("why")).join_from(
        dispositions, accounts, dispositions.c.account_id == accounts.c.id
    )


def _why_not(order: Order) -> ColumnElement[str | None]:
    if order.action is Action.CANCEL:
        return case((_can_not(CANCEL), _SHOWN), else_=null())
    too_old = dispositions.c.expires_at <= func.statement_timestamp()
    return case(
        (_can_not(SEND_AGAIN), _SHOWN),
        (_HAS_NEWER, Why.NEWER.value),
        (false() if order.extend_max_age else too_old, Why.TOO_OLD.value),
        (ON_HOLD, Why.HELD.value),
        (_is_unchanged(order.map) if order.action is Action.RESEND else false(), Why.UNCHANGED.value),
        else_=null(),
    )


def _can_not(edge: Edge) -> ColumnElement[bool]:
    return dispositions.c.state.not_in([state.value for state in edge.leaves])


def _is_unchanged(value_map: ValueMap) -> ColumnElement[bool]:
    wrong = (func.coalesce(dispositions.c[field].in_(values), false()) for field, values in value_map.items())
    return not_(or_(*wrong))
