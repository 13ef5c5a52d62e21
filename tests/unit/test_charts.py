"""Charts: what is drawn, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.web.dashboard.charts import line_chart, nice, settled


@pytest.mark.parametrize(
    ("counts", "drawn"),
    [
        ([60, 58, 3], [60, 58, None]),  # three seconds into the minute: no fall
        ([60, 58, 58], [60, 58, 58]),
        ([0, 0, 4], [0, 0, 4]),  # what has just begun is seen at once
        ([4], [4]),
    ],
)
def test_a_minute_that_is_under_way_is_no_fall(counts: list[int], drawn: list[float | None]) -> None:
    assert settled(counts) == drawn


def test_what_is_not_known_is_a_gap_in_the_line_and_a_dash_in_its_table() -> None:
    began = datetime(2026, 11, 26, 4, 0, tzinfo=UTC)
    minutes = [began + timedelta(minutes=number) for number in range(4)]
    chart = line_chart("A minute", minutes, {"came in": [1, None, 2, None]}, zone=ZoneInfo("UTC"), shown=str)
    [line] = chart.lines
    assert line.path.count("M") == 2
    assert [cells for _, cells in chart.rows] == [["—"], ["2"], ["—"], ["1"]]  # newest first
    assert chart.summary == "came in: now 2, at most 2"


@pytest.mark.parametrize(("highest", "top"), [(0, 2), (3, 4), (4, 4), (5, 10), (512, 1000), (10_001, 20_000)])
def test_the_top_of_a_chart_is_a_round_number_whose_half_is_one_too(highest: float, top: float) -> None:
    assert nice(highest) == top
