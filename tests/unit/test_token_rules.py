"""When a token serves, and when the next may be asked for: never more than ten an hour, whatever goes wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.tokens import HOUR, LIFETIME, PER_HOUR, REPLACED_FROM, SERVES_UNTIL, Standing

NOW = datetime(2026, 11, 25, 10, 30, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def pause(standing: Standing, *, at_leisure: bool = False) -> float:
    return (standing.may_ask_at(at_leisure=at_leisure) - NOW).total_seconds()


def test_a_token_serves_until_shortly_before_its_end_and_is_replaced_well_before() -> None:
    assert not Standing(NOW).serves
    assert Standing(NOW, made_at=NOW).serves
    assert Standing(NOW, made_at=NOW - SERVES_UNTIL + timedelta(seconds=1)).serves
    assert not Standing(NOW, made_at=NOW - SERVES_UNTIL).serves
    assert REPLACED_FROM < SERVES_UNTIL < LIFETIME


def test_the_first_ones_may_be_asked_for_at_once() -> None:
    for already in range(5):
        assert pause(Standing(NOW, asked=[NOW] * already)) <= 0


@pytest.mark.parametrize(("already", "seconds"), [(5, 30), (6, 60), (7, 120), (8, 240), (9, 480)])
def test_the_later_ones_of_an_hour_wait_longer_and_longer(already: int, seconds: int) -> None:
    assert pause(Standing(NOW, asked=[ago(1000)] * (already - 1) + [NOW])) == seconds


def test_the_eleventh_waits_until_the_first_is_an_hour_old() -> None:
    asked = [ago(3000 - 100 * number) for number in range(PER_HOUR)]
    assert pause(Standing(NOW, asked=asked)) == HOUR.total_seconds() - 3000


def test_while_the_old_one_serves_nobody_is_in_a_hurry() -> None:
    assert pause(Standing(NOW, asked=[NOW]), at_leisure=True) == 180
    assert pause(Standing(NOW, asked=[ago(200)]), at_leisure=True) <= 0


def test_nobody_asks_while_cloudagent_says_that_it_is_too_much() -> None:
    assert pause(Standing(NOW, blocked_until=NOW + timedelta(minutes=7))) == 420
    assert pause(Standing(NOW, asked=[NOW] * 5, blocked_until=NOW + timedelta(seconds=7))) == 30


@given(st.lists(st.floats(0, 900), min_size=30, max_size=60))
def test_an_hour_of_cloudagents_never_has_more_than_ten(waits: list[float]) -> None:
    """Somebody wants one after each of these waits (seconds), and asks as soon as it may. A request is on its way for
    up to a minute."""
    now, asked = NOW, list[datetime]()
    for wait in waits:
        now += timedelta(seconds=wait)
        within = [at for at in asked if at > now - HOUR]
        now = max(now, Standing(now, asked=within).may_ask_at())
        asked.append(now)
    for late, early in ((0, 0), (60, 0), (0, 60)):
        arrived = sorted(at + timedelta(seconds=late if number % 2 else early) for number, at in enumerate(asked))
        assert all(
            eleventh - first >= timedelta(hours=1) for first, eleventh in zip(arrived, arrived[10:], strict=False)
        )
