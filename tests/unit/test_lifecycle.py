"""The table of transitions: what may follow what, and what people see of it."""

from __future__ import annotations

import pytest

from app.domain.lifecycle import (
    CANCEL,
    EDGES,
    EXPIRE,
    FINAL,
    SEND_AGAIN,
    SUPERSEDE,
    TRANSITIONS,
    WAITING,
    Edge,
    State,
    shown,
)


def test_every_way_of_the_design_is_there_and_no_other() -> None:
    ways = {state.value: {entered.value for entered in entries} for state, entries in TRANSITIONS.items()}
    after_waiting = {"sending", "superseded", "cancelled", "failed"}
    assert ways == {
        "queued": after_waiting,
        "retrying": after_waiting,
        "sending": {"delivered", "failed", "retrying", "queued"},
        "held": set(),  # shown, never stored
        "failed": {"queued"},
        "delivered": set(),
        "superseded": set(),
        "cancelled": set(),
    }


def test_what_is_stored_by_intake_comes_from_nowhere() -> None:
    assert {edge.enters for edge in EDGES if not edge.leaves} == {State.QUEUED, State.SUPERSEDED}


@pytest.mark.parametrize("edge", [SUPERSEDE, CANCEL, EXPIRE], ids=lambda edge: edge.letter)
def test_a_disposition_on_the_wire_is_neither_superseded_nor_cancelled_nor_expired(edge: Edge) -> None:
    assert not edge.allows(State.SENDING)
    assert all(edge.allows(state) for state in WAITING)


def test_a_final_state_is_left_only_to_send_a_failure_again() -> None:
    assert [edge for edge in EDGES if edge.leaves & FINAL] == [SEND_AGAIN]
    assert SEND_AGAIN.leaves == {State.FAILED}


def test_every_state_is_waiting_on_the_wire_or_final_but_held_which_is_only_shown() -> None:
    assert WAITING | FINAL | {State.SENDING, State.HELD} == set(State)
    assert not WAITING & FINAL


def test_every_state_but_held_is_entered_by_some_edge() -> None:
    assert {edge.enters for edge in EDGES} == set(State) - {State.HELD}


@pytest.mark.parametrize("state", list(State))
def test_a_hold_shows_on_what_waits_and_on_nothing_else(state: State) -> None:
    assert shown(state, on_hold=False) is state
    assert shown(state, on_hold=True) is (State.HELD if state in WAITING else state)


def test_what_enters_a_final_state_leaves_an_event() -> None:
    assert all(edge.action for edge in EDGES if edge.enters in FINAL)
