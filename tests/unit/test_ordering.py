"""Which disposition of a call is the newest, and which is only said again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.domain.ordering import Admission, Newest, admit, moment

NOW = datetime(2026, 11, 25, 10, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WINDOW = 10 * MINUTE
A, B = b"print of A", b"print of B"


def newest(*, minutes_ago: float = 1, at: datetime | None = None, said: bytes = A) -> Newest:
    accepted_at = NOW - minutes_ago * MINUTE
    return Newest(UUID(int=1), at or accepted_at, accepted_at, said)


def arriving(
    before: Newest | None, said: bytes = A, *, occurred_at: datetime | None = None, has_key: bool = False
) -> Admission:
    return admit(before, fingerprint=said, occurred_at=occurred_at, now=NOW, window=WINDOW, has_key=has_key)


def test_the_first_of_a_call_is_new_whenever_it_occurred() -> None:
    assert arriving(None) is Admission.NEW
    assert arriving(None, occurred_at=NOW - 1000 * MINUTE) is Admission.NEW


def test_the_newest_said_again_within_the_window_is_a_duplicate() -> None:
    assert arriving(newest()) is Admission.DUPLICATE
    assert arriving(newest(minutes_ago=10)) is Admission.DUPLICATE


def test_after_the_window_it_is_new() -> None:
    assert arriving(newest(minutes_ago=10.01)) is Admission.NEW


def test_another_one_is_new() -> None:
    assert arriving(newest(), B) is Admission.NEW


def test_an_idempotency_key_says_that_it_is_new() -> None:
    assert arriving(newest(), has_key=True) is Admission.NEW


def test_what_occurred_before_the_newest_is_stale() -> None:
    assert arriving(newest(), B, occurred_at=NOW - 2 * MINUTE) is Admission.STALE
    assert arriving(newest(), B, occurred_at=NOW - 2 * MINUTE, has_key=True) is Admission.STALE


@pytest.mark.parametrize("minutes_after", [0, 0.5])
def test_what_occurred_with_the_newest_or_after_it_is_new(minutes_after: float) -> None:
    occurred_at = newest().at + minutes_after * MINUTE
    assert arriving(newest(), B, occurred_at=occurred_at) is Admission.NEW


def test_without_a_time_of_its_own_arrival_orders_it() -> None:
    assert arriving(newest(at=NOW - 5 * MINUTE), B) is Admission.NEW


def test_a_time_in_the_future_counts_as_now_and_does_not_shut_out_what_follows() -> None:
    assert moment(NOW + 60 * MINUTE, NOW) == NOW
    before = newest(minutes_ago=1, at=moment(NOW + 60 * MINUTE, NOW - MINUTE))
    assert arriving(before, B) is Admission.NEW
    assert arriving(before, B, occurred_at=NOW) is Admission.NEW


def test_a_duplicate_is_one_even_if_its_time_lies_back() -> None:
    occurred_at = NOW - 30 * MINUTE
    assert arriving(newest(at=occurred_at), occurred_at=occurred_at) is Admission.DUPLICATE
