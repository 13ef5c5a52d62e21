"""Schedules: when a replay recurs, what happens when one run would overlap the one before, and what was missed.

A time of a schedule is *due* when it has come. It is *missed* when it could not be acted on within the catch-up window,
since everything was down for longer. By a wall clock, a time that daylight saving leaves out comes as soon as there is
one again, and one that comes twice is taken once, unless it is one of every hour or minute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from app.domain.callback_time import time_zone
from app.domain.durations import parse_duration, write_duration
from app.domain.errors import Fault, InvalidInput
from app.domain.refusals import quoted, refusal, shortened
from app.domain.replays import MOST_ITEMS, needs_reason, parse_order, read_reason, truth

RESERVED = "ready-made"
"""No schedule has this name: it is an address of its own."""

NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")

SHORTEST = timedelta(minutes=1)
SHORTEST_WINDOW = timedelta(seconds=10)  # a few looks at what is due
LONGEST_WINDOW = timedelta(days=30)
MOST_BACKFILLED = 100
"""Runs of one backfill."""


class Overlap(StrEnum):
    """What becomes of a run while the one before is still sending."""

    SKIP = "skip"
    QUEUE = "queue"


class RunState(StrEnum):
    """What became of a run."""

    QUEUED = "queued"  # waits for the one before
    STARTED = "started"  # made its replay
    SKIPPED = "skipped"  # the one before was still sending
    MISSED = "missed"  # nothing ran within the catch-up window
    REFUSED = "refused"  # what it asks for is not taken any more


@dataclass(frozen=True, slots=True)
class Recurrence:
    """When: by a cron expression in a time zone, or every so often since ``anchor``."""

    cron: str | None
    every: timedelta | None
    zone: ZoneInfo
    anchor: datetime

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The times after ``moment``, in UTC. A cron expression that no day fits has none."""
        if self.every is not None:
            passed = (moment - self.anchor) // self.every
            while True:
                passed += 1
                yield self.anchor + passed * self.every
        assert self.cron is not None
        for found in CronSim(self.cron, moment.astimezone(self.zone)):
            yield found.astimezone(UTC)

    def next(self, moment: datetime) -> datetime | None:
        """The first time after ``moment``."""
        return next(self.after(moment), None)


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule as it is asked for. ``replay`` is the order as a JSON object: its times are relative to each run."""

    name: str
    cron: str | None
    every: timedelta | None
    time_zone: str
    replay: Mapping[str, Any]
    overlap: Overlap = Overlap.SKIP
    catch_up: timedelta = timedelta(hours=1)
    paused: bool = False
    reason: str | None = None

    def recurrence(self, anchor: datetime) -> Recurrence:
        """When it recurs."""
        return Recurrence(self.cron, self.every, time_zone(self.time_zone), anchor)


def _name(name: str, value: object) -> str:
    if value == RESERVED:
        raise refusal(name, f"{quoted(value)} is kept for the list of ready-made schedules; choose another")
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    raise refusal(name, f"is {quoted(value)}; it must be 1 to 100 letters, digits and .-_@, no sign first")


def _cron(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise refusal(name, f"is {quoted(value)}; it must be five fields such as '30 2 * * *'")
    try:
        times = CronSim(value, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        reason = str(error).lower()
        raise refusal(
            name, f"{quoted(value)} is no cron expression ({reason}); write five fields: '30 2 * * *'"
        ) from None
    if len(value.split()) != 5:
        raise refusal(name, f"{quoted(value)} has {len(value.split())} fields; write five: '30 2 * * *'")
    if next(times, None) is None:
        raise refusal(name, f"{quoted(value)} never comes: there is no such day")
    return value


def _duration(least: timedelta, most: timedelta) -> Any:
    def rule(name: str, value: object) -> timedelta:
        try:
            found = parse_duration(value if isinstance(value, str) else quoted(value))
        except ValueError as error:
            raise refusal(name, str(error)) from None
        if not least <= found <= most:
            raise refusal(name, f"is {quoted(value)}; it must be {write_duration(least)} to {write_duration(most)}")
        return found

    return rule


def _zone(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise refusal(name, f"is {quoted(value)}; it must be an IANA name such as Asia/Kolkata")
    return time_zone(value, field=name).key


def _overlap(name: str, value: object) -> Overlap:
    if isinstance(value, str) and value in set(Overlap):
        return Overlap(value)
    raise refusal(name, f"is {quoted(value)}; there are: {', '.join(Overlap)}")


def _replay(name: str, value: object, now: datetime) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise refusal(name, "is missing or no object; it says what is sent again, as for POST /v1/replays")
    order = parse_order(value, now, within=f"{name}.")
    if not order.reason and needs_reason(order.action, MOST_ITEMS):
        raise refusal(f"{name}.reason", f"is missing: say why each run is to {order.action} them")
    return value


FIELDS: Mapping[str, Any] = {
    "name": _name,
    "cron": _cron,
    "every": _duration(SHORTEST, timedelta(days=366)),
    "time_zone": _zone,
    "replay": _replay,  # needs the time as well
    "overlap": _overlap,
    "catch_up": _duration(SHORTEST_WINDOW, LONGEST_WINDOW),
    "paused": truth,
    "reason": read_reason,
}
"""The fields of a schedule, with the rule of each."""


def parse_schedule(fields: Mapping[str, object], now: datetime, was: Plan | None = None) -> Plan:
    """The schedule that a JSON object asks for, or, with ``was``, the change of one. Raises ``InvalidInput``, also if a
    run at ``now`` would."""
    faults: list[Fault] = []
    rules = {**FIELDS, "replay": partial(_replay, now=now)}
    values: dict[str, Any] = {} if was is None else {name: getattr(was, name) for name in FIELDS}
    values["reason"] = None
    given = {name: value for name, value in fields.items() if value is not None}
    if ("cron" in given) != ("every" in given):
        values |= dict.fromkeys(("cron", "every"))  # one takes the place of the other
    for name, value in given.items():
        try:
            if (rule := rules.get(name)) is None:
                raise _unknown(name)
            values[name] = rule(name, value)
        except InvalidInput as refused:
            faults.extend(refused.faults)
    if "cron" in given and "every" in given:
        faults.append(Fault("every", "every and cron exclude each other; send one of them"))
    elif was is None and "cron" not in given and "every" not in given:
        faults.append(Fault("cron", "cron is missing, and every as well: say when, '30 2 * * *' or '6h'"))
    faults += [
        Fault(name, f"{name} is missing") for name in ("name", "replay") if name not in values and name not in given
    ]
    if faults:
        raise InvalidInput(faults)
    values.setdefault("time_zone", "UTC")
    values.setdefault("cron", None)
    values.setdefault("every", None)
    return Plan(**values)


def _unknown(name: str) -> InvalidInput:
    near = get_close_matches(name[:50].lower(), FIELDS, n=1)
    return refusal(
        shortened(name),
        "is not a field; " + (f"did you mean {near[0]}?" if near else f"there are: {', '.join(FIELDS)}"),
    )


@dataclass(frozen=True, slots=True)
class Ready:
    """A ready-made schedule: what it is for, and the fields to make it of."""

    name: str
    about: str
    fields: Mapping[str, Any] = field(default_factory=dict)


_CLOUDAGENTS_SIDE = ("retry_later", "rate_limited", "upstream_error", "unreachable", "no_reply", "unknown")

READY_MADE: tuple[Ready, ...] = (
    Ready(
        "cloudagent-nightly",
        "Every night: what failed in the last week for reasons on CloudAgent's side.",
        {
            "cron": "30 2 * * *",
            "time_zone": "Asia/Kolkata",
            "replay": {
                "filter": {"state": "failed", "cause": list(_CLOUDAGENTS_SIDE), "from": "7d"},
                "rate_per_second": 5,
                "extend_max_age": True,
            },
        },
    ),
    Ready(
        "after-key-change",
        "Every hour: what expired while its account was on hold, once that is released; before, nothing.",
        {
            "cron": "15 * * * *",
            "time_zone": "Asia/Kolkata",
            "replay": {
                "filter": {
                    "state": "failed",
                    "cause": ["authentication_failed", "misconfigured", "expired"],
                    "from": "14d",
                },
                "rate_per_second": 5,
                "extend_max_age": True,
            },
        },
    ),
    Ready(
        "unreadable-hourly",
        "Every hour: what failed in the last five days since CloudAgent's reply could not be read.",
        {
            "cron": "45 * * * *",
            "time_zone": "Asia/Kolkata",
            "replay": {
                "filter": {"state": "failed", "cause": "unreadable_reply", "from": "5d"},
                "rate_per_second": 2,
                "extend_max_age": True,
            },
        },
    ),
)
"""Offered by command line, API and page."""
