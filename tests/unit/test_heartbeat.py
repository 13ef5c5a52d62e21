from __future__ import annotations

import pytest

from app.services.heartbeat import Rate


def test_a_rate_is_of_the_last_ten_seconds() -> None:
    rate = Rate()
    assert rate.read(500, now=100) == 0  # nothing to compare with
    assert rate.read(530, now=101) == 30
    assert rate.read(530, now=102) == 15
    for second in range(103, 112):
        assert rate.read(530, now=second) == pytest.approx(30 / (second - 100) if second <= 110 else 0)


def test_a_reading_at_the_same_moment_divides_by_nothing() -> None:
    rate = Rate()
    rate.read(1, now=5)
    assert rate.read(2, now=5) == 0
