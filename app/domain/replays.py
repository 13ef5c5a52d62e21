"""Replays: one action on all dispositions that a filter takes. What is asked for, how it goes, when it stops.

::

    draft ──start──▶ running ──▶ done         every item has been acted on
                        ├──────▶ stopped      too many of its items failed again
                        └──────▶ cancelled    by an operator

The items are frozen when the replay is made: what is done is what was counted. A replay that has ended is *settled*
when all that it sent has come to a final state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from app.domain.corrections import ValueMap, parse_value_map
from app.domain.errors import Fault, InvalidInput
from app.domain.fields import text
from app.domain.filters import Filter, parse_filter
from app.domain.lifecycle import State
from app.domain.refusals import is_number, kind, quoted, refusal, shortened


class Action(StrEnum):
    """What is done with each item."""

    RETRY = "retry"  # send a failed one again
    CANCEL = "cancel"  # take a waiting one back
    RESEND = "resend"  # make a corrected one in place of a failed one


class ReplayState(StrEnum):
    """Where a replay stands."""

    DRAFT = "draft"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    CANCELLED = "cancelled"


class Result(StrEnum):
    """Where an item stands. ``sent``: on its way; after that the state that it came to."""

    WAITING = "waiting"
    SKIPPED = "skipped"
    SENT = "sent"
    DELIVERED = State.DELIVERED.value
    FAILED = State.FAILED.value
    SUPERSEDED = State.SUPERSEDED.value
    CANCELLED = State.CANCELLED.value


class Why(StrEnum):
    """Why a disposition is no item, or an item was skipped, where it is not the state in which it is."""

    NEWER = "newer"
    TOO_OLD = "too_old"
    HELD = State.HELD.value
    UNCHANGED = "unchanged"
    INVALID = "invalid"
    GONE = "gone"
    OVER_LIMIT = "over_limit"


MEANINGS: Mapping[str, str] = {
    Why.NEWER: "a newer disposition of its call would be overwritten",
    Why.TOO_OLD: "it is older than its maximum age; extend_max_age sends it all the same",
    Why.HELD: "its account is on hold; release it first",
    Why.UNCHANGED: "it has none of the values that are to be corrected",
    Why.INVALID: "with the right value it would not be taken",
    Why.GONE: "it was deleted meanwhile, by retention",
    Why.OVER_LIMIT: "there are more than max_items",
    State.QUEUED: "it is on its way already",
    State.SENDING: "it is on its way already",
    State.RETRYING: "it is on its way already",
    State.DELIVERED: "CloudAgent has it",
    State.FAILED: "it has failed already",
    State.SUPERSEDED: "a newer disposition of its call took its place",
    State.CANCELLED: "somebody took it back",
}
"""What each ``why`` means, for people."""

DEFAULT_RATE = 10.0
"""Items a second."""

LOWEST_RATE = 0.001
"""One in a quarter of an hour. What is slower never ends, and at the very small no date is far enough for the next."""

HIGHEST_RATE = 1000.0

MOST_ITEMS = 1_000_000
DEFAULT_MOST_ITEMS = 100_000
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for. ``rate_per_second`` is a ceiling: live traffic goes first.

    It stops by itself when more than ``stop_share`` of its items failed again, once ``stop_after`` have come to an end.
    """

    filter: Filter
    action: Action = Action.RETRY
    map: ValueMap = field(default_factory=dict)
    rate_per_second: float = DEFAULT_RATE
    max_items: int = DEFAULT_MOST_ITEMS
    extend_max_age: bool = False
    stop_share: float = 0.5
    stop_after: int = 50
    reason: str | None = None


def _rate(name: str, value: object) -> float:
    if is_number(value) and LOWEST_RATE <= value <= HIGHEST_RATE:
        return value
    raise refusal(name, f"is {quoted(value)}; it must be {LOWEST_RATE:g} to {HIGHEST_RATE:g}")


def _number(above: float, most: float, *, whole: bool = False) -> Callable[[str, object], Any]:
    def rule(name: str, value: object) -> int | float:
        if is_number(value) and above < value <= most and not (whole and isinstance(value, float)):
            return value
        what = f"a whole number, {above + 1:,.0f} to {most:,.0f}" if whole else f"above {above:g} and at most {most:g}"
        raise refusal(name, f"is {quoted(value)}; it must be {what}")

    return rule


def truth(name: str, value: object) -> bool:
    """The rule for a yes or no: true or false of JSON, and nothing else."""
    if isinstance(value, bool):
        return value
    raise refusal(name, f"is {quoted(value)}; it must be true or false")


read_reason = text(LONGEST_REASON, lines=True)
"""The rule for why something is done."""


def _action(name: str, value: object) -> Action:
    if isinstance(value, str) and value in set(Action):
        return Action(value)
    raise refusal(name, f"is {quoted(value)}; there are: {', '.join(Action)}")


FIELDS: Mapping[str, Callable[[str, object], Any]] = {
    "action": _action,
    "map": parse_value_map,
    "rate_per_second": _rate,
    "max_items": _number(0, MOST_ITEMS, whole=True),
    "extend_max_age": truth,
    "stop_share": _number(0, 1),
    "stop_after": _number(0, MOST_ITEMS, whole=True),
    "reason": read_reason,
}
"""The fields of an order beside its filter, with the rule of each."""


def parse_order(
    fields: Mapping[str, object],
    now: datetime,
    *,
    only_accounts: frozenset[str] = frozenset(),
    within: str = "",
) -> Order:
    """The order that a JSON object asks for; raises ``InvalidInput`` with every fault.

    ``within`` stands before the names in messages: "replay.". Null is as good as leaving a field out.
    """
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    wanted: Filter | None = None
    try:
        wanted = _filter(f"{within}filter", fields.get("filter"), now, only_accounts)
    except InvalidInput as refused:
        faults.extend(refused.faults)
    for name, sent in fields.items():
        rule = FIELDS.get(name)
        if name == "filter" or (rule is not None and sent is None):
            continue
        if rule is None:
            faults.append(_unknown(f"{within}{shortened(name)}", name))
            continue
        try:
            values[name] = rule(f"{within}{name}", sent)
        except InvalidInput as refused:
            faults.extend(refused.faults)
    faults += _mismatch(values.get("action"), fields.get("map"), within)
    if faults or wanted is None:
        raise InvalidInput(faults)
    return Order(wanted, **values)


def _filter(name: str, sent: object, now: datetime, only_accounts: frozenset[str]) -> Filter:
    if not isinstance(sent, Mapping):
        raise refusal(name, f"is {'missing' if sent is None else kind(sent)}; it must be an object of conditions")
    wanted = parse_filter(sent, now, only_accounts=only_accounts, named=lambda condition: f"{name}.{condition}")
    if wanted.is_empty:
        raise refusal(name, "is empty and would take everything; give at least one condition")
    return wanted


def _mismatch(action: Action | None, value_map: object, within: str) -> list[Fault]:
    """The map belongs to the action that corrects, and to no other."""
    corrects = action is Action.RESEND
    if corrects and value_map is None:
        return [Fault(f"{within}map", f"{within}map is missing: to resend, say which value becomes which.")]
    if not corrects and value_map is not None:
        return [Fault(f"{within}map", f"{within}map needs the action resend; the others change no value.")]
    return []


def _unknown(shown: str, name: str) -> Fault:
    there = ("filter", *FIELDS)
    near = get_close_matches(name[:50].lower(), there, n=1)
    known = f"did you mean {near[0]}?" if near else f"there are: {', '.join(there)}."
    return Fault(shown, f"{shown} is not a field; {known}")


def needs_reason(action: Action, items: int) -> bool:
    """True if the audit trail has to say why: more than one is changed for good.

    Sending failed ones again changes nothing about them, and cron jobs do it each night.
    """
    return items > 1 and action is not Action.RETRY


def must_stop(*, delivered: int, failed: int, stop_share: float, stop_after: int) -> bool:
    """True if so many failed again that going on makes no sense."""
    ended = delivered + failed
    return ended >= stop_after and failed > stop_share * ended
