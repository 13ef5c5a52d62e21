"""Which dispositions: the filter of lists, exports, replays and schedules. One grammar for all of them.

A filter is written as fields, in the query of a request (``state=failed&cause=no_reply&from=24h``) or as a JSON object
(``{"state": "failed", "cause": ["no_reply", "unreachable"], "from": "24h"}``). Several values of a field are
alternatives, several fields all apply.

Whatever is not understood is refused and never passed over: a filter that lost a condition would take more than was
meant, and a replay would send it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from app.domain import fields as rules
from app.domain.durations import parse_duration
from app.domain.errors import Fault, InvalidInput
from app.domain.lifecycle import Cause, State
from app.domain.refusals import kind, quoted, refusal, shortened
from app.domain.replies import REMEDIES, Remedy

CAUSES: tuple[str, ...] = (*(outcome for outcome, remedy in REMEDIES.items() if remedy is not Remedy.NONE), *Cause)
"""Every cause that a failure can have."""

NOT_FINAL: frozenset[str] = frozenset(
    outcome for outcome, remedy in REMEDIES.items() if remedy in (Remedy.WAIT, Remedy.FIX_ACCOUNT)
)
"""Outcomes after which a disposition waits, until its tries or its time run out. As a cause to look for they mean that,
with this as the outcome of the last attempt: ``no_reply`` is "failed since CloudAgent did not reply"."""

LONGEST_WORD = 200
"""Characters of a text to look for. Nothing that is stored in such a field is longer."""

MOST_VALUES = 1000
"""Of one field."""

_AGO = re.compile(r"-?([0-9.]+[a-z]+)")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dispositions. Several values of one field are alternatives, several fields all apply; empty: any."""

    ids: Sequence[UUID] = ()
    states: Sequence[State] = ()
    causes: Sequence[str] = ()
    accounts: Sequence[str] = ()
    ucids: Sequence[str] = ()
    agent_ids: Sequence[str] = ()
    dids: Sequence[str] = ()
    dispositions: Sequence[str] = ()
    sources: Sequence[str] = ()
    references: Sequence[str] = ()
    failures: Sequence[UUID] = ()  # groups of what one correction mends
    search: str | None = None  # what it may mean: app/storage/search.py
    since: datetime | None = None  # accepted then or later
    until: datetime | None = None  # accepted before
    only_accounts: frozenset[str] = field(default_factory=frozenset)  # of a bound key; no condition that was asked for
    by_number: bool = True  # False: of one who may not see customers' numbers, and so may not try them out either

    @property
    def is_empty(self) -> bool:
        """True if it has no condition and takes everything."""
        return not any(getattr(self, one.attribute) for one in FIELDS)


@dataclass(frozen=True, slots=True)
class Field:
    """A condition: its name as it is written, the attribute of the filter, and the rule for one value."""

    name: str
    attribute: str
    rule: Callable[[str, object], object]
    single: bool = False  # several values make no sense


def _one_of(choices: Sequence[str], make: Callable[[str], object] = str) -> Callable[[str, object], object]:
    def rule(name: str, value: object) -> object:
        if value in choices:
            return make(str(value))
        near = get_close_matches(value.lower(), choices, n=1) if isinstance(value, str) else []
        advice = f"did you mean {near[0]}?" if near else f"there are: {', '.join(choices)}"
        raise refusal(name, f"is {quoted(value)}; {advice}")

    return rule


def _id_of(thing: str) -> Callable[[str, object], UUID]:
    def rule(name: str, value: object) -> UUID:
        try:
            return UUID(value)  # type: ignore[arg-type]  # what is no text raises
        except (ValueError, TypeError, AttributeError):
            raise refusal(name, f"is {quoted(value)}; it must be the id of a {thing}, a UUID") from None

    return rule


def _moment(name: str, value: object) -> datetime | timedelta:
    """RFC 3339, or how long ago."""
    if isinstance(value, str) and (ago := _AGO.fullmatch(value)):
        try:
            return parse_duration(ago[1])
        except ValueError as error:
            raise refusal(name, f"{error}, for that long ago") from None
    try:
        return rules.instant(name, value)
    except InvalidInput as refused:
        raise InvalidInput(
            [Fault(fault.field, f"{fault.message}, or how long ago, such as 24h") for fault in refused.faults]
        ) from None


_word = rules.text(LONGEST_WORD)

FIELDS: tuple[Field, ...] = (
    Field("id", "ids", _id_of("disposition")),
    Field("state", "states", _one_of(tuple(State), State)),
    Field("cause", "causes", _one_of(CAUSES)),
    Field("account", "accounts", _word),
    Field("ucid", "ucids", _word),
    Field("agent_id", "agent_ids", _word),
    Field("did", "dids", _word),
    Field("disposition", "dispositions", _word),
    Field("source", "sources", _word),
    Field("reference", "references", _word),
    Field("failure", "failures", _id_of("failure")),
    Field("q", "search", _word, single=True),
    Field("from", "since", _moment, single=True),
    Field("to", "until", _moment, single=True),
)
"""Every condition there is, in the order in which they are named."""

_BY_NAME = {one.name: one for one in FIELDS}


def parse_filter(
    fields: Mapping[str, object],
    now: datetime,
    *,
    only_accounts: frozenset[str] = frozenset(),
    by_number: bool = True,
    named: Callable[[str], str] = str,
) -> Filter:
    """The filter that ``fields`` ask for; each has a value, or a list of values.

    Times may be relative: ``24h`` or ``-24h`` is that long before ``now``, and stays that moment. ``named`` gives the
    name of a field for messages ("filter.cause", "--cause"). Raises ``InvalidInput`` with every fault. Without
    ``by_number`` a number is refused, and not searched for: who is shown its last digits only could otherwise ask
    whether it is there.
    """
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, sent in fields.items():
        if (known := _BY_NAME.get(name)) is None:
            faults.append(_unknown(name, named))
            continue
        if known.attribute == "dids" and not by_number:
            message = f"{named(name)} is no condition for your role: customers' numbers are not shown to it in full."
            faults.append(Fault(named(name), message))
            continue
        try:
            values[known.attribute] = _values(known, named(name), sent)
        except InvalidInput as refused:
            faults.extend(refused.faults)
    for attribute in ("since", "until"):
        if isinstance(ago := values.get(attribute), timedelta):
            values[attribute] = now - ago
    since, until = values.get("since"), values.get("until")
    if since is not None and until is not None and since >= until:
        to = named("to")
        faults.append(Fault(to, f"{to}, {until.isoformat()}, is not after {named('from')}, {since.isoformat()}."))
    if faults:
        raise InvalidInput(faults)
    return Filter(**values, only_accounts=only_accounts, by_number=by_number)


def to_json(wanted: Filter) -> dict[str, object]:
    """The filter as a JSON object, which ``parse_filter`` reads again; ``only_accounts`` is no part of it."""
    found = {one: getattr(wanted, one.attribute) for one in FIELDS}
    return {one.name: _written(value) for one, value in found.items() if value}


def _written(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str):
        return value
    assert isinstance(value, Sequence)
    return [str(one) for one in value]


def _values(known: Field, name: str, sent: object) -> object:
    """The value of a field, or all of its values. None is as wrong as an empty list: it would take everything."""
    several = sent if isinstance(sent, list | tuple) else [sent]
    if not several:
        raise refusal(name, "is an empty list; leave it out to take any")
    if len(several) > (most := 1 if known.single else MOST_VALUES):
        raise refusal(name, f"has {len(several)} values; at most {most} {'is' if known.single else 'are'} taken")
    parsed: list[object] = []
    faults: list[Fault] = []
    for value in several:
        try:
            parsed.append(_value(known, name, value))
        except InvalidInput as refused:
            faults.extend(refused.faults)
    if faults:
        raise InvalidInput(faults)
    return parsed[0] if known.single else tuple(dict.fromkeys(parsed))


def _value(known: Field, name: str, value: object) -> object:
    if value is None or value == "":
        raise refusal(name, f"is {'empty' if value == '' else kind(value)}; leave it out to take any")
    return known.rule(name, value)


def _unknown(name: str, named: Callable[[str], str]) -> Fault:
    near = get_close_matches(name[:50].lower(), _BY_NAME, n=1)
    known = f"did you mean {near[0]}?" if near else f"there are: {', '.join(_BY_NAME)}."
    shown = named(shortened(name))
    return Fault(shown, f"{shown} is not a condition of a filter; {known}")
