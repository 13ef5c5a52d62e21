"""An account's lane: when it comes into doubt, what its probes decide, what it learns about the pace."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.lane import Change, Doubt, Ending, Lane, LanePolicy, Sign, after, sign_of
from app.domain.replies import REMEDIES, Certainty, Outcome, Remedy, Verdict

NOW = datetime(2026, 11, 25, 10, 30, tzinfo=UTC)
POLICY = LanePolicy(pauses=(timedelta(seconds=5), timedelta(seconds=15)))
IN_DOUBT = Lane(doubt=Doubt.BREAKER, probe_at=NOW)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def ends(*signs: Sign, at: datetime = NOW) -> list[Ending]:
    return [Ending(sign, at) for sign in signs]


def of(answered: int = 0, trouble: int = 0) -> list[Ending]:
    return ends(*[Sign.ANSWERED] * answered, *[Sign.TROUBLE] * trouble)


# What an end says.


def test_every_outcome_says_something_about_the_account() -> None:
    says = {outcome: sign_of(Verdict(outcome, Certainty.ANSWERED, 1)) for outcome in Outcome}
    assert {outcome for outcome, sign in says.items() if sign is Sign.REFUSED} == {
        outcome for outcome, remedy in REMEDIES.items() if remedy is Remedy.FIX_ACCOUNT
    }
    assert [outcome for outcome, sign in says.items() if sign is Sign.TROUBLE] == [
        Outcome.UPSTREAM_ERROR,
        Outcome.UNREACHABLE,
        Outcome.NO_REPLY,
    ]
    assert [outcome for outcome, sign in says.items() if sign is Sign.LIMITED] == [Outcome.RATE_LIMITED]


# Tokens.


@pytest.mark.parametrize("answered", [0, 500])
def test_without_a_token_all_wait_until_one_may_be_asked_for_and_one_goes_first(answered: int) -> None:
    endings = [*of(answered), Ending(Sign.NO_TOKEN, NOW, NOW + seconds(480)), Ending(Sign.NO_TOKEN, NOW, NOW)]
    lane = after(Lane(), endings, NOW, POLICY).lane
    assert (lane.doubt, lane.probe_at) == (Doubt.TOKEN, NOW + seconds(480))
    later = NOW + seconds(480)
    assert after(lane, ends(Sign.ANSWERED, at=later), later, POLICY).lane.doubt is None


@pytest.mark.parametrize("doubt", Doubt)
def test_a_probe_without_a_token_decides_nothing(doubt: Doubt) -> None:
    lane = Lane(doubt=doubt, probe_at=NOW, failed_probes=1)
    later = after(lane, [Ending(Sign.NO_TOKEN, NOW, NOW + seconds(60))], NOW, POLICY)
    assert later == Change(replace(lane, probe_at=NOW + seconds(60)))
    assert after(lane, ends(Sign.OLD_TOKEN), NOW + seconds(1), POLICY) == Change(
        replace(lane, probe_at=NOW + seconds(1))
    )


def test_a_token_that_ended_is_nothing_to_doubt_an_account_for() -> None:
    assert after(Lane(), ends(*[Sign.OLD_TOKEN] * 50), NOW, POLICY) == Change(Lane())


# The breaker.


def test_while_all_is_well_nothing_changes_and_nothing_is_counted() -> None:
    assert after(Lane(), of(answered=500), NOW, POLICY) == Change(Lane())


@pytest.mark.parametrize(
    ("answered", "trouble", "doubt"),
    [(0, 9, None), (0, 10, "breaker"), (5, 5, "breaker"), (6, 5, None), (100, 50, None)],
)
def test_it_opens_on_a_share_of_failures_among_enough_calls(answered: int, trouble: int, doubt: str | None) -> None:
    lane = after(Lane(), of(answered, trouble), NOW, POLICY).lane
    assert lane.doubt == doubt
    assert lane.probe_at == (NOW + seconds(5) if doubt else None)


def test_failures_add_up_within_the_window_and_are_forgotten_after_it() -> None:
    lane = after(Lane(), of(trouble=5), NOW, POLICY).lane
    assert (lane.window_at, lane.window_calls, lane.window_failures) == (NOW, 5, 5)
    assert after(lane, of(trouble=5), NOW + seconds(30), POLICY).lane.doubt is Doubt.BREAKER
    later = after(lane, of(trouble=5), NOW + seconds(31), POLICY).lane
    assert (later.doubt, later.window_at, later.window_failures) == (None, NOW + seconds(31), 5)
    assert after(lane, of(answered=1), NOW + seconds(31), POLICY).lane == Lane()


def test_what_was_under_way_before_the_doubt_decides_nothing() -> None:
    late = ends(Sign.TROUBLE, Sign.ANSWERED, Sign.REFUSED, at=NOW - seconds(1))
    assert after(IN_DOUBT, late, NOW + seconds(1), POLICY) == Change(IN_DOUBT)


def test_an_answer_to_the_probe_opens_the_lane() -> None:
    assert after(replace(IN_DOUBT, failed_probes=3), of(answered=1), NOW, POLICY) == Change(Lane())


def test_each_probe_that_fails_makes_the_pause_longer_up_to_the_last() -> None:
    lane, pauses = after(Lane(), of(trouble=10), NOW, POLICY).lane, []
    for _ in range(4):
        assert lane.probe_at is not None
        at = lane.probe_at
        lane = after(lane, ends(Sign.TROUBLE, at=at), at, POLICY).lane
        assert (lane.doubt, lane.probe_at is not None) == (Doubt.BREAKER, True)
        pauses.append(lane.probe_at - at)  # type: ignore[operator]
    assert pauses == [seconds(15)] * 4


# Credentials.


def test_one_refusal_brings_a_probe_at_once_and_a_second_one_a_hold() -> None:
    lane = after(Lane(), [*of(answered=50), *ends(Sign.REFUSED)], NOW, POLICY).lane
    assert (lane.doubt, lane.probe_at) == (Doubt.CREDENTIALS, NOW)
    assert after(lane, ends(Sign.REFUSED), NOW + seconds(1), POLICY) == Change(Lane(), hold=True)
    assert after(lane, of(answered=1), NOW + seconds(1), POLICY) == Change(Lane())


def test_a_probe_of_the_credentials_that_gets_no_answer_is_repeated_after_a_pause() -> None:
    lane = after(replace(IN_DOUBT, doubt=Doubt.CREDENTIALS), of(trouble=1), NOW, POLICY).lane
    assert (lane.doubt, lane.probe_at, lane.failed_probes) == (Doubt.CREDENTIALS, NOW + seconds(15), 1)


def test_a_refused_probe_of_the_breaker_is_confirmed_before_the_hold() -> None:
    change = after(IN_DOUBT, ends(Sign.REFUSED), NOW + seconds(1), POLICY)
    assert not change.hold
    assert (change.lane.doubt, change.lane.probe_at) == (Doubt.CREDENTIALS, NOW + seconds(1))


# The pace.


@pytest.mark.parametrize(("rate", "recent", "learned"), [(None, 8, 4), (2, 8, 1), (20, 8, 4), (None, 0, 1 / 120)])
def test_too_much_halves_what_was_sent(rate: float | None, recent: float, learned: float) -> None:
    lane = after(Lane(rate=rate, recent=recent), ends(*[Sign.LIMITED] * 3), NOW, POLICY).lane
    assert (lane.learned_rate, lane.learned_at) == (pytest.approx(max(learned, 1 / 60)), NOW)
    assert (lane.doubt, lane.window_at) == (None, None)


@pytest.mark.parametrize(
    ("answered", "limited", "slower"), [(0, 2, False), (9, 3, True), (10, 3, False), (300, 100, True)]
)
def test_a_stray_one_lowers_nothing(answered: int, limited: int, slower: bool) -> None:
    lane = after(Lane(recent=8), [*of(answered), *ends(*[Sign.LIMITED] * limited)], NOW, POLICY).lane
    assert (lane.learned_rate is not None) == slower


def test_of_many_calls_at_one_rate_a_few_lower_it_once() -> None:
    lane = after(Lane(recent=8), ends(*[Sign.LIMITED] * 3), NOW, POLICY).lane
    assert after(lane, ends(*[Sign.LIMITED] * 50, at=NOW), NOW + seconds(1), POLICY) == Change(lane)
    later = ends(*[Sign.LIMITED] * 3, at=NOW + seconds(1))
    again = after(replace(lane, rate=4.0), later, NOW + seconds(2), POLICY).lane
    assert again.learned_rate == pytest.approx(2)


# Always.

SIGNS = st.lists(st.lists(st.sampled_from(list(Sign)), min_size=1, max_size=12), max_size=20)


@given(groups=SIGNS)
def test_a_lane_in_doubt_always_has_a_time_for_its_probe_and_never_holds_unprobed(groups: list[list[Sign]]) -> None:
    lane, at = Lane(), NOW
    for signs in groups:
        at += seconds(20)
        before, change = lane, after(lane, ends(*signs, at=at), at, POLICY)
        lane = change.lane
        assert (lane.doubt is None) == (lane.probe_at is None)
        assert not change.hold or before.doubt is Doubt.CREDENTIALS
