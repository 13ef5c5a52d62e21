"""Durations (`5ms`, `2s`, `1m`) and latencies, which are one duration or a range of two (`5ms-20ms`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `250ms`, `1.5s` or `2m`. Raises `ValueError`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write it like 250ms, 2s or 1m")
    return float(match[1]) * _SECONDS[match[2]]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long an answer takes, in seconds: evenly spread from `low` to `high`."""

    low: float = 0.0
    high: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Latency:
        """`5ms` (fixed) or `5ms-20ms` (a range). Raises `ValueError`."""
        low, dash, high = text.partition("-")
        latency = cls(parse_duration(low), parse_duration(high if dash else low))
        if latency.high < latency.low:
            raise ValueError(f"the latency {text!r} ends before it begins: write the smaller value first")
        return latency

    @property
    def varies(self) -> bool:
        """Whether it takes a random number to know the next one."""
        return self.low != self.high

    def draw(self, random: Random) -> float:
        """Seconds for one answer."""
        return random.uniform(self.low, self.high)
