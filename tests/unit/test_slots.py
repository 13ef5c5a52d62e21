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
    assert slots.offer() == Offer(160, most=200)
    taken_by(slots, LARGE, 159)
    assert slots.offer() == Offer(1, most=200)
    taken_by(slots, LARGE, 1)
    assert slots.offer() == Offer(20, most=FEW, under_way={LARGE: 160})
    assert slots.offer({LARGE}) is None  # nobody is asked who would get nothing
    assert slots.offer({LARGE, SMALL}) == Offer(20, most=FEW, under_way={LARGE: 160})


def test_half_of_what_is_kept_is_for_accounts_with_few_calls_under_way() -> None:
    slots = Slots(200)
    taken_by(slots, LARGE, 160)
    taken_by(slots, SMALL, FEW - 1)
    assert slots.offer({SMALL}) == Offer(20 - (FEW - 1), most=FEW, under_way={LARGE: 160, SMALL: FEW - 1})
    taken_by(slots, SMALL, 1)
    assert slots.offer({SMALL}) is None
    slots.give_back(SMALL)
    assert slots.offer({SMALL}) is not None


def test_the_other_half_is_for_accounts_with_none() -> None:
    slots = Slots(200)
    taken_by(slots, LARGE, 180)
    assert slots.offer({SMALL}) == Offer(20, most=1, under_way={LARGE: 180})
    slots.take(SMALL)
    assert slots.offer({SMALL}) is None
    assert slots.offer({SMALL, 3}) == Offer(19, most=1, under_way={LARGE: 180, SMALL: 1})


def test_when_all_are_taken_nothing_is_offered() -> None:
    slots = Slots(10)
    for account in range(10):
        slots.take(account)
    assert slots.offer() is None
    slots.give_back(3)
    assert slots.offer({3}) == Offer(1, most=1, under_way=dict.fromkeys({*range(10)} - {3}, 1))


@given(wishes=st.lists(st.integers(1, 9), max_size=300))
def test_whatever_nine_accounts_take_there_is_room_for_a_tenth(wishes: list[int]) -> None:
    slots = Slots(100)  # the last ten of them go to ten accounts
    for account in wishes:
        if slots.offer({account}) is not None:
            slots.take(account)
    assert slots.taken <= 100
    assert slots.offer({10}) is not None


@pytest.mark.parametrize("total", [1, 2, 4])
def test_where_there_are_hardly_any_slots_none_is_kept(total: int) -> None:
    assert Slots(total).offer() == Offer(total, most=total)


def test_slots_are_scarce_while_a_claim_would_bring_only_a_few_calls() -> None:
    slots = Slots(200)
    for taken in range(120):
        assert not slots.scarce, taken
        slots.take(taken % 3)
    slots.take(0)  # 39 are free beside the 40 that are kept
    assert slots.scarce
    slots.give_back(0)
    assert not slots.scarce
