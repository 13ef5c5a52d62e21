"""What follows an attempt: the schedule, its bounds, and the decision for each remedy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.lifecycle import DELIVER, FAIL, PUT_BACK, RETRY_LATER
from app.domain.replies import REMEDIES, Certainty, Outcome, Remedy, Verdict
from app.domain.retry import (
    RETRY_AFTER_CEILING,
    RETRY_AFTER_FLOOR,
    Decision,
    RetryPolicy,
    Situation,
    decide,
    parse_retry_after,
)
from app.settings import Settings

NOW = datetime(2026, 11, 25, 10, 30, tzinfo=UTC)
POLICY = RetryPolicy(delays=tuple(timedelta(seconds=s) for s in (5, 15, 60)), max_attempts=20)
FIRST = Situation(tries=1, now=NOW, expires_at=NOW + timedelta(hours=72), jitter=0.5)


def verdict(outcome: Outcome, *, retry_after: str | None = None) -> Verdict:
    return Verdict(outcome, Certainty.ANSWERED, 1, retry_after=retry_after)


def outcomes(remedy: Remedy) -> list[Outcome]:
    return [outcome for outcome, wanted in REMEDIES.items() if wanted is remedy]


def next_pause(decision: Decision) -> timedelta:
    assert decision.edge is RETRY_LATER
    assert decision.next_attempt_at is not None
    return decision.next_attempt_at - NOW


# The schedule.


@pytest.mark.parametrize(("tries", "seconds"), [(1, 5), (2, 15), (3, 60), (4, 60), (19, 60)])
def test_the_delays_follow_the_schedule_and_the_last_one_repeats(tries: int, seconds: int) -> None:
    assert POLICY.delay(tries, 1.0) == timedelta(seconds=seconds)


@given(tries=st.integers(1, 1000), jitter=st.floats(0, 1, exclude_max=True))
def test_jitter_is_full_from_nothing_to_the_whole_delay(tries: int, jitter: float) -> None:
    assert timedelta(0) <= POLICY.delay(tries, jitter) <= POLICY.delay(tries, 1.0)
    assert POLICY.delay(tries, 0.0) == timedelta(0)


def test_the_contracts_schedule_is_the_default() -> None:
    policy = Settings().retry_policy
    assert [delay.total_seconds() for delay in policy.delays] == [5, 15, 60, 300, 900, 3600, 7200, 14400, 28800]
    assert policy.max_attempts == 20


@pytest.mark.parametrize("outcome", outcomes(Remedy.WAIT))
def test_what_may_pass_is_tried_again_after_the_delay(outcome: Outcome) -> None:
    decision = decide(verdict(outcome), replace(FIRST, tries=2), POLICY)
    assert decision == Decision(RETRY_LATER, next_attempt_at=NOW + timedelta(seconds=7.5))


# Tokens.


def test_a_token_that_ended_costs_a_repeat_at_once_and_no_try() -> None:
    assert decide(verdict(Outcome.TOKEN_EXPIRED), FIRST, POLICY) == Decision(PUT_BACK, next_attempt_at=NOW)


def test_a_second_one_in_a_row_is_a_try_like_any_other_so_that_it_comes_to_an_end() -> None:
    again = replace(FIRST, tries=2, after_token_expired=True)
    decision = decide(verdict(Outcome.TOKEN_EXPIRED), again, POLICY)
    assert decision == Decision(RETRY_LATER, next_attempt_at=NOW + timedelta(seconds=7.5))
    decision = decide(verdict(Outcome.TOKEN_EXPIRED), replace(again, tries=20), POLICY)
    assert decision == Decision(FAIL, cause="attempts_exhausted")


@pytest.mark.parametrize("tries", [1, 20])
def test_until_a_token_may_be_asked_for_waiting_is_no_try(tries: int) -> None:
    waits = verdict(Outcome.NO_TOKEN, retry_after="480")
    assert decide(waits, replace(FIRST, tries=tries), POLICY) == Decision(
        PUT_BACK, next_attempt_at=NOW + timedelta(seconds=480)
    )


# The bounds.


def test_the_last_attempt_is_the_last() -> None:
    decision = decide(verdict(Outcome.NO_REPLY), replace(FIRST, tries=20), POLICY)
    assert decision == Decision(FAIL, cause="attempts_exhausted")
    assert decide(verdict(Outcome.NO_REPLY), replace(FIRST, tries=19), POLICY).edge is RETRY_LATER


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1)])
def test_nothing_is_tried_again_beyond_its_age(late: timedelta) -> None:
    decision = decide(verdict(Outcome.RETRY_LATER), replace(FIRST, expires_at=NOW - late), POLICY)
    assert decision == Decision(FAIL, cause="expired")


@given(
    outcome=st.sampled_from(Outcome),
    tries=st.integers(1, 40),
    left=st.integers(-5, 5),
    jitter=st.floats(0, 1, exclude_max=True),
    other_format_left=st.booleans(),
    retry_after=st.none() | st.text(max_size=30) | st.integers().map(str),
)
def test_every_disposition_is_tried_a_bounded_number_of_times(
    outcome: Outcome, tries: int, left: int, jitter: float, other_format_left: bool, retry_after: str | None
) -> None:
    situation = Situation(tries, NOW, NOW + timedelta(seconds=left), jitter, other_format_left)
    decision = decide(verdict(outcome, retry_after=retry_after), situation, POLICY)
    if decision.edge is RETRY_LATER:
        assert tries < POLICY.max_attempts
        assert left > 0
        assert decision.next_attempt_at is not None
        assert NOW <= decision.next_attempt_at <= NOW + max(RETRY_AFTER_CEILING, POLICY.delays[-1])
    assert (decision.cause is not None) == (decision.edge is FAIL)


# The remedies.


@pytest.mark.parametrize("outcome", outcomes(Remedy.NONE))
def test_a_success_is_delivered_even_at_the_last_moment(outcome: Outcome) -> None:
    assert decide(verdict(outcome), replace(FIRST, tries=20, expires_at=NOW), POLICY) == Decision(DELIVER)


@pytest.mark.parametrize("outcome", outcomes(Remedy.FIX_DATA))
def test_a_permanent_refusal_fails_at_once_with_its_outcome_as_the_cause(outcome: Outcome) -> None:
    assert decide(verdict(outcome, retry_after="5"), FIRST, POLICY) == Decision(FAIL, cause=outcome.value)


@pytest.mark.parametrize("outcome", outcomes(Remedy.FIX_ACCOUNT))
@pytest.mark.parametrize("tries", [1, 20, 21])
def test_what_shows_that_its_account_is_in_trouble_goes_on_waiting(outcome: Outcome, tries: int) -> None:
    decision = decide(verdict(outcome), replace(FIRST, tries=tries), POLICY)
    assert decision == Decision(PUT_BACK, next_attempt_at=NOW)


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 0), (2, 2.5), (3, 7.5), (4, 30), (40, 30)])
def test_what_is_refused_again_and_again_while_others_get_through_comes_less_and_less_often(
    attempts: int, seconds: float
) -> None:
    decision = decide(verdict(Outcome.AUTHENTICATION_FAILED), replace(FIRST, attempts=attempts), POLICY)
    assert decision == Decision(PUT_BACK, next_attempt_at=NOW + timedelta(seconds=seconds))


def test_a_refused_callback_time_is_tried_at_once_in_the_other_format() -> None:
    decision = decide(verdict(Outcome.INVALID_CALLBACK_TIME), replace(FIRST, other_format_left=True), POLICY)
    assert decision == Decision(RETRY_LATER, next_attempt_at=NOW, other_format=True)


def test_a_callback_time_that_is_refused_in_both_formats_fails() -> None:
    decision = decide(verdict(Outcome.INVALID_CALLBACK_TIME), replace(FIRST, tries=2), POLICY)
    assert decision == Decision(FAIL, cause="invalid_callback_time")


# Retry-After.


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("Wed, 25 Nov 2026 10:32:00 GMT", 120),
        ("Wednesday, 25-Nov-26 10:32:00 GMT", 120),
        ("Wed, 25 Nov 2026 16:02:00 +0530", 120),
        # Clamped.
        ("0", 1),
        ("Wed, 25 Nov 2026 10:29:00 GMT", 1),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1),
        ("86400", 3600),
        ("999999999", 3600),
        ("Fri, 25 Nov 2050 10:32:00 GMT", 3600),
        # Nonsense, or nothing.
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("10s", None),
        ("٣", None),
        ("9" * 5000, None),
        ("2026-11-25T10:32:00Z", None),
        ("Wed, 31 Nov 2026 10:32:00 GMT", None),
        ("Wed Nov 25 10:32:00 2026", None),  # no zone
    ],
)
def test_retry_after_is_read_in_seconds_or_as_a_date_and_clamped(header: str | None, seconds: int | None) -> None:
    assert parse_retry_after(header, NOW) == (None if seconds is None else timedelta(seconds=seconds))


@given(st.text(max_size=60))
def test_no_retry_after_breaks_it_or_leaves_its_bounds(header: str) -> None:
    asked = parse_retry_after(header, NOW)
    assert asked is None or RETRY_AFTER_FLOOR <= asked <= RETRY_AFTER_CEILING


def test_retry_after_may_make_the_pause_longer_and_never_shorter() -> None:
    assert next_pause(decide(verdict(Outcome.RATE_LIMITED, retry_after="40"), FIRST, POLICY)).total_seconds() == 40
    late = replace(FIRST, tries=3)
    assert next_pause(decide(verdict(Outcome.UPSTREAM_ERROR, retry_after="2"), late, POLICY)).total_seconds() == 30
    assert next_pause(decide(verdict(Outcome.RATE_LIMITED, retry_after="soon"), late, POLICY)).total_seconds() == 30
