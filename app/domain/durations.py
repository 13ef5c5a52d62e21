"""Durations as people write them: ``250ms``, ``10s``, ``5m``, ``72h``, ``400d``."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_LONGEST = timedelta(days=10_000)  # what the tables and the calendar can hold, with room


def parse_duration(text: object) -> timedelta:
    """``250ms``, ``10s``, ``5m``, ``72h``, ``400d`` as a duration; raises ``ValueError`` with what is taken."""
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write it like 250ms, 10s, 5m, 72h or 400d")
    try:
        duration = timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError:
        duration = timedelta.max
    if duration > _LONGEST:
        raise ValueError(f"{text!r} is too long: at most {_LONGEST.days}d are taken")
    return duration


def write_duration(duration: timedelta) -> str:
    """A duration of whole seconds, in the largest unit that needs no fraction: ``90m``, ``36h``, ``7d``."""
    seconds = round(duration.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
