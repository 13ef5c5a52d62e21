"""Which disposition of a call is the newest, and which one only says again what was said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from uuid import UUID


class Admission(Enum):
    """What an arriving disposition is to its call."""

    NEW = auto()  # the newest: it is queued, and what waited before it is superseded
    DUPLICATE = auto()  # the newest one, said again: nothing is stored
    STALE = auto()  # older than the newest: stored, and superseded at once


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest disposition of a call. ``at`` orders it: when the agent chose it, or when it came."""

    id: UUID
    at: datetime
    accepted_at: datetime
    print: bytes


def moment(occurred_at: datetime | None, now: datetime) -> datetime:
    """What orders a disposition among those of its call: its ``occurred_at`` if given, else its arrival.

    A time in the future is a CRM's clock that runs ahead. It counts as now: else one such disposition would make
    stale all that follow it until the future has come.
    """
    return now if occurred_at is None else min(occurred_at, now)


def admit(
    newest: Newest | None,
    *,
    fingerprint: bytes,
    occurred_at: datetime | None,
    now: datetime,
    window: timedelta,
    has_key: bool,
    corrects: bool = False,
) -> Admission:
    """What the arrival is to its call, whose lock the caller holds.

    Only the *newest* disposition can be repeated: A, B, A are three dispositions, and the last A is live. A request
    with an ``Idempotency-Key`` (``has_key``) has said by it that it is new. So has a correction (``corrects``), whose
    ``occurred_at`` is that of the one that it takes the place of.
    """
    if newest is None or corrects:
        return Admission.NEW
    if not has_key and newest.print == fingerprint and now - newest.accepted_at <= window:
        return Admission.DUPLICATE
    if occurred_at is not None and moment(occurred_at, now) < newest.at:
        return Admission.STALE
    return Admission.NEW
