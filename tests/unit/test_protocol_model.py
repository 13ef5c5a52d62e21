"""Lease, epoch, watchdog and the lock of the call keep their promise in every order of events; each of them is needed.

``protocol_model.py`` says which statement of the code each event stands for. ``pytest -s`` shows the ways.
"""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from tests.unit.protocol_model import LOST, OUT_OF_ORDER, TWO_ENDS, Explored, Rules, explore


@pytest.fixture(scope="module")
def whole() -> Explored:
    """The protocol as it is."""
    return explore(Rules())


def test_no_order_of_events_breaks_the_promise(whole: Explored) -> None:
    print(f"{whole.states} states, {whole.transitions} transitions")
    assert whole.ways == {}


def test_the_model_is_as_large_as_it_should_be(whole: Explored) -> None:
    # A condition that is wrong by a little may close most of the space, and what is never looked at is never broken.
    assert whole.states > 50_000
    assert whole.transitions > 250_000
    happened = {re.sub(r"D\d(/\d)?", "D", event) for event in whole.events}
    assert happened >= {
        "D is posted and draws seq 1",
        "D is posted and draws seq 3",
        "the API is killed before it commits D",
        "D is committed: 202",
        "D is cancelled",
        "a worker claims D",
        "a worker claims, and finds nothing to send",
        "D sees that it is in time",
        "D is too slow to start",
        "D begins its call",
        "D is connected, in time",
        "D gives up: nothing sent",
        "D is sent",
        "CloudAgent starts D",
        "D reads: saved",
        "D gets no good reply",
        "D is recorded: saved",
        "D is recorded: to be tried again",
        "D is recorded: saved; the COMMIT's answer is lost",
        "D ends too late, and changes nothing",
        "D is taken back, of unknown outcome",
        "the worker at D is killed",
        "the worker at D stands still",
        "the worker at D runs on",
        "the worker at D runs on, and its watchdog kills it",
        "a tick",
    }


@pytest.mark.parametrize(
    ("without", "breaks"),
    [
        pytest.param(Rules(watchdog=False), {OUT_OF_ORDER}, id="no watchdog"),
        pytest.param(Rules(epoch_guard=False), {OUT_OF_ORDER, TWO_ENDS}, id="no epoch guard"),
        pytest.param(Rules(seq_lock=False), {LOST}, id="no seq lock"),
        pytest.param(Rules(one_clock=False), {OUT_OF_ORDER}, id="a deadline that begins when the call does"),
        pytest.param(Rules(lease=2), {OUT_OF_ORDER}, id="a lease that is too short"),
        pytest.param(Rules(start_within=2), {OUT_OF_ORDER}, id="a start that is too late"),
    ],
)
def test_each_part_is_needed(without: Rules, breaks: set[str]) -> None:
    found = explore(without)
    [taken] = [one.name for one in fields(Rules) if getattr(without, one.name) != getattr(Rules(), one.name)]
    for broken, way in found.ways.items():
        print(f"\n{taken} = {getattr(without, taken)}: {broken}", *way, sep="\n    ")
    assert set(found.ways) == breaks


def test_a_longer_lease_is_as_good() -> None:
    assert explore(Rules(lease=4)).ways == {}
