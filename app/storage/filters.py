"""Filters as SQL: one function for lists, counts and snapshots, so that what is counted is what is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_, select

from app.domain.filters import NOT_FINAL, Filter
from app.domain.lifecycle import WAITING, Cause, State
from app.storage.search import matches
from app.storage.tables import accounts, calls, dispositions, failure_members

Query = TypeVar("Query", bound=Select[Any])

ON_HOLD = accounts.c.hold_cause.is_not(None)

IS_WAITING = dispositions.c.state.in_([state.value for state in WAITING])


def narrowed(query: Query, wanted: Filter) -> Query:
    """The query over ``dispositions`` joined with ``accounts``, for those that the filter takes."""
    return query.where(*_conditions(wanted))


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.states:
        conditions.append(or_(*(_in_state(state) for state in wanted.states)))
    columns: Mapping[ColumnElement[Any], Sequence[object]] = {
        dispositions.c.id: wanted.ids,
        accounts.c.customer: wanted.accounts,
        dispositions.c.agent_id: wanted.agent_ids,
        dispositions.c.did: wanted.dids,
        dispositions.c.disposition: wanted.dispositions,
        dispositions.c.source: wanted.sources,
        dispositions.c.reference: wanted.references,
    }
    conditions += [column.in_(values) for column, values in columns.items() if values]
    if wanted.causes:
        conditions.append(failed_by(wanted.causes))
    if wanted.ucids:
        conditions.append(dispositions.c.call_id.in_(select(calls.c.id).where(calls.c.ucid.in_(wanted.ucids))))
    if wanted.failures:
        of_these = failure_members.c.failure_id.in_(wanted.failures)
        conditions.append(dispositions.c.id.in_(select(failure_members.c.disposition_id).where(of_these)))
    if wanted.search is not None:
        conditions.append(matches(wanted.search, by_number=wanted.by_number))
    if wanted.since:
        conditions.append(dispositions.c.created_at >= wanted.since)
    if wanted.until:
        conditions.append(dispositions.c.created_at < wanted.until)
    if wanted.only_accounts:
        conditions.append(accounts.c.customer.in_(wanted.only_accounts))
    return conditions


def failed_by(causes: Sequence[str]) -> ColumnElement[bool]:
    """By the cause; and where tries or time ran out, by what the last attempt came to as well."""
    by_cause = dispositions.c.cause.in_(causes)
    outcomes = sorted(NOT_FINAL.intersection(causes))
    if not outcomes:
        return by_cause
    ran_out = dispositions.c.cause.in_([cause.value for cause in Cause])
    return or_(by_cause, and_(ran_out, dispositions.c.outcome.in_(outcomes)))


def _in_state(state: State) -> ColumnElement[bool]:
    """The state as people see it: waiting and on hold is held."""
    if state is State.HELD:
        return and_(IS_WAITING, ON_HOLD)
    if state in WAITING:
        return and_(dispositions.c.state == state.value, ~ON_HOLD)
    return dispositions.c.state == state.value
