"""The slots of a pump: a part is kept for accounts that have few calls under way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.slots import FEW, Offer, Slots

LARGE, SMALL = 1, 2


def taken_by(slots: Slots, account: int, calls: int) -> None:
    for _ in range(calls):
        slots.take(account)


def test_one_account_may_take_all_but_what_is_kept() -> None:
    slots = Slots(200)
    assert slots.offer() == Offer(160, each=160)
    taken_by(slots, LARGE, 159)
    assert slots.offer() == Offer(1, each=1)
    taken_by(slots, LARGE, 1)
    assert slots.offer() == Offer(40, each=1, passing_over=[LARGE])
    assert slots.offer({LARGE}) is None  # nobody is asked who would get nothing
    assert slots.offer({LARGE, SMALL}) == Offer(40, each=1, passing_over=[LARGE])


def test_what_is_kept_is_for_accounts_with_few_calls_under_way() -> None:
    slots = Slots(200)
    taken_by(slots, LARGE, 160)
    taken_by(slots, SMALL, FEW - 1)
    assert slots.offer({SMALL}) == Offer(40 - (FEW - 1), each=1, passing_over=[LARGE])
    taken_by(slots, SMALL, 1)
    assert slots.offer({SMALL}) is None
    slots.give_back(SMALL)
    assert slots.offer({SMALL}) == Offer(40 - (FEW - 1), each=1, passing_over=[LARGE])


def test_when_all_are_taken_nothing_is_offered() -> None:
    slots = Slots(5)
    for account in range(5):
        slots.take(account)
    assert slots.offer() is None
    slots.give_back(3)
    assert slots.offer() == Offer(1, each=1, passing_over=[])


@given(total=st.integers(1, 100), wishes=st.lists(st.integers(1, 3), max_size=120))
def test_whatever_three_accounts_take_there_is_room_for_a_fourth(total: int, wishes: list[int]) -> None:
    slots, taken = Slots(total), 0
    for account in wishes:
        offer = slots.offer()
        if offer is not None and account not in offer.passing_over:
            slots.take(account)
            taken += 1
    assert taken <= total
    if total // 5 > 3 * FEW:
        newcomer = slots.offer({4})
        assert newcomer is not None
        assert 4 not in newcomer.passing_over


@pytest.mark.parametrize("total", [1, 2, 4])
def test_where_there_are_hardly_any_slots_none_is_kept(total: int) -> None:
    assert Slots(total).offer() == Offer(total, each=total)


def test_slots_are_scarce_while_a_claim_would_bring_only_a_few_calls() -> None:
    slots = Slots(200)
    for taken in range(120):
        assert not slots.scarce, taken
        slots.take(taken % 3)
    slots.take(0)  # 39 are free beside the 40 that are kept
    assert slots.scarce
    slots.give_back(0)
    assert not slots.scarce
