"""Charts: lines over the last hour, drawn on the server as SVG.

Each line has its own dashes and its name at its end, so that it can be told in black and white; and the figures stand
in a table behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

Values = Sequence[float | None]

WIDTH, HEIGHT = 560, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 84, 10, 20
_LABEL_HEIGHT = 13  # two names at the ends of lines may not lie upon each other
_TIMES = 4  # along the bottom


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name, its path, and where its name stands."""

    name: str
    path: str
    label_y: float


@dataclass(frozen=True, slots=True)
class Chart:
    """What the template draws. ``rows`` are those of the table behind it: a time, and a text for each line."""

    title: str
    lines: Sequence[Line]
    levels: Sequence[tuple[float, str]]  # y and its text
    times: Sequence[tuple[float, str]]  # x and its text
    rows: Sequence[tuple[str, Sequence[str]]]
    summary: str

    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    bottom: int = HEIGHT - _BOTTOM


def line_chart(
    title: str,
    minutes: Sequence[datetime],
    series: Mapping[str, Values],
    *,
    zone: ZoneInfo,
    shown: Callable[[float], str],
) -> Chart:
    """A chart with one line for each of ``series``; None leaves a gap. ``shown`` writes a value with its unit."""
    top = nice(max((value for values in series.values() for value in values if value is not None), default=0))
    xs = [_LEFT + index * (WIDTH - _LEFT - _RIGHT) / max(1, len(minutes) - 1) for index in range(len(minutes))]

    def y(value: float) -> float:
        return round(HEIGHT - _BOTTOM - value / top * (HEIGHT - _TOP - _BOTTOM), 1)

    times = [f"{minute.astimezone(zone):%H:%M}" for minute in minutes]
    ends = {
        name: next((value for value in reversed(values) if value is not None), 0) for name, values in series.items()
    }
    labels = _apart({name: y(value) + 4 for name, value in ends.items()})
    marks = [round(mark * (len(minutes) - 1) / (_TIMES - 1)) for mark in range(_TIMES)]
    return Chart(
        title=title,
        lines=[Line(name, _path(xs, values, y), labels[name]) for name, values in series.items()],
        levels=[(y(level), shown(level)) for level in (0, top / 2, top)],
        times=[(xs[mark], times[mark]) for mark in marks],
        rows=[
            (time, ["—" if values[index] is None else shown(values[index] or 0) for values in series.values()])
            for index, time in reversed(list(enumerate(times)))
        ],
        summary="; ".join(f"{name}: now {shown(ends[name])}, at most {shown(_most(series[name]))}" for name in series),
    )


def settled(counts: Sequence[int]) -> Values:
    """Counts by minute without the last one, which is still under way: it would look like a fall each time. Once it has
    come up to the one before it is there, since it can only rise."""
    *whole, last = counts
    return [*whole, last if not whole or last >= whole[-1] else None]


def nice(value: float) -> float:
    """The smallest of 2, 4, 10, 20, 40, 100, … that is not below: half of it is a round number, too."""
    if value <= 2:
        return 2
    unit = 10 ** math.floor(math.log10(value))
    return next(float(unit * step) for step in (1, 2, 4, 10) if unit * step >= value)


def _most(values: Values) -> float:
    return max((value for value in values if value is not None), default=0)


def _path(xs: Sequence[float], values: Values, y: Callable[[float], float]) -> str:
    """The line as SVG has it. A value between two gaps is a line of no length, which round ends make a dot."""
    words, pen_down = [], False
    for x, value in zip(xs, values, strict=True):
        if value is None:
            pen_down = False
            continue
        words.append(f"{'L' if pen_down else 'M'}{x:.1f} {y(value)}" + ("" if pen_down else "h0"))
        pen_down = True
    return "".join(words)


def _apart(wanted: Mapping[str, float]) -> dict[str, float]:
    """The names' places, moved so far that none lies upon another, all within the chart."""
    names = sorted(wanted, key=lambda name: wanted[name])
    placed: list[float] = []
    for name in names:  # downwards
        placed.append(max(wanted[name], placed[-1] + _LABEL_HEIGHT if placed else _TOP + 4.0))
    lowest = HEIGHT - _BOTTOM + 4.0
    for index in reversed(range(len(placed))):  # and up again, what went too far
        placed[index] = min(placed[index], lowest)
        lowest = placed[index] - _LABEL_HEIGHT
    return {name: round(y, 1) for name, y in zip(names, placed, strict=True)}
