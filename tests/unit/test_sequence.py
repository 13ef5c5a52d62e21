"""A sequence that others still write: nothing is told twice or left out, and nothing is waited for for ever."""

from __future__ import annotations

from random import Random

from app.domain.sequence import InOrder


def test_what_has_no_gap_is_told_at_once() -> None:
    order = InOrder(5)
    assert order.settle([6, 7, 8], oldest=1, following=1, now=0.0) == [6, 7, 8]
    assert order.position == 8


def test_what_is_behind_a_gap_waits_until_the_gap_is_filled() -> None:
    order = InOrder(0)
    assert order.settle([1, 3], oldest=10, following=12, now=0.0) == [1]
    assert order.settle([3, 4], oldest=10, following=13, now=0.5) == []
    assert order.settle([2, 3, 4], oldest=13, following=13, now=0.6) == [2, 3, 4]


def test_a_gap_that_nobody_can_fill_any_more_is_passed_over() -> None:
    order = InOrder(0)
    assert order.settle([1, 3], oldest=10, following=12, now=0.0) == [1]
    assert order.settle([3], oldest=11, following=14, now=5.0) == []  # transaction 11 is under way
    assert order.settle([3], oldest=12, following=14, now=5.5) == [3]


def test_a_number_may_be_taken_a_moment_before_its_transaction_has_an_id() -> None:
    order = InOrder(0)
    assert order.settle([2], oldest=12, following=12, now=0.0) == []
    assert order.settle([2], oldest=12, following=12, now=0.9) == []
    assert order.settle([1, 2], oldest=13, following=13, now=0.95) == [1, 2]


def test_nobody_is_waited_for_for_ever() -> None:
    order = InOrder(0)
    assert order.settle([2], oldest=1, following=12, now=0.0) == []
    assert order.settle([2], oldest=1, following=12, now=21.0) == [2]


def test_a_gap_further_on_has_been_waiting_since_it_was_seen_first() -> None:
    order = InOrder(0)
    assert order.settle([2, 4], oldest=10, following=12, now=0.0) == []
    assert order.settle([2, 4], oldest=12, following=12, now=1.5) == [2, 4]


def test_writers_at_random_are_all_told_once_and_in_order() -> None:
    random = Random(2)
    for _ in range(50):
        order, told, now = InOrder(0), [], 0.0
        numbers = list(range(1, 61))
        rolled_back = {number for number in numbers if random.random() < 0.15}
        under_way: dict[int, int] = {}  # number and its transaction
        seen: set[int] = set()
        following = 100
        while numbers or under_way:
            now += random.random() / 10
            if numbers and random.random() < 0.6:
                under_way[numbers.pop(0)] = following
                following += 1
            elif under_way:
                number = random.choice(list(under_way))
                del under_way[number]
                seen |= {number} - rolled_back
            visible = sorted(number for number in seen if number > order.position)
            oldest = min(under_way.values(), default=following)
            told += order.settle(visible, oldest=oldest, following=following, now=now)
        for _ in range(3):
            now += 1.5
            visible = sorted(number for number in seen if number > order.position)
            told += order.settle(visible, oldest=following, following=following, now=now)
        assert told == sorted(seen)
