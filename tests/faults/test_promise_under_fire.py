"""A bounded piece of ``make faults``: a short run under torment, and two faults that have to be caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import plant
from tests.faults.nemesis import (
    cut_database,
    flush_broker,
    kill_scheduler,
    kill_worker_child,
    pause_worker_child_for_long,
)
from tests.faults.planted import BY_NAME, PLANTED, Text, Unplanted, copy_code
from tests.faults.postgres_proxy import name
from tests.faults.run import Ledger, Scenario, run

pytestmark = pytest.mark.timeout(300)  # a run waits for as long as it has to, if others use the machine

BRIEFLY = Scenario(
    seconds=12, acts=(kill_worker_child, pause_worker_child_for_long, kill_scheduler, cut_database, flush_broker)
)


async def test_the_promise_is_kept_under_fire(tmp_path: Path) -> None:
    ledger = Ledger()
    found = await run(tmp_path / "run", BRIEFLY, seed=1, ledger=ledger)
    hit = [point for point in ledger.known if ledger.hits[point]]
    print(found.line(points_hit=len(hit), points=len(ledger.known), runs=1))
    assert found.broken() == {}
    assert found.accepted > 10
    assert len(hit) > 5
    assert {point.edge.kind for point in hit} == {"api", "worker"}


@pytest.mark.parametrize("fault", ["retry on success", "key logged"])
def test_a_planted_fault_is_caught(fault: str, tmp_path: Path) -> None:
    assert plant(tmp_path, BY_NAME[fault], seed=1)


def test_every_fault_can_still_be_planted(tmp_path: Path) -> None:
    for number, planted in enumerate(PLANTED):
        copy_code(tmp_path / str(number), [*planted.also, *planted.texts])


def test_a_fault_whose_text_is_gone_is_not_planted(tmp_path: Path) -> None:
    with pytest.raises(Unplanted, match="has 0 times, not once"):
        copy_code(tmp_path / "copy", [Text("app/settings.py", "no such text", "")])


@pytest.mark.parametrize(
    ("sql", "known_as"),
    [
        ("BEGIN", "BEGIN"),
        ("SELECT id FROM calls WHERE id = 1 FOR UPDATE", "LOCK calls"),
        ("SELECT d.id FROM dispositions d JOIN accounts ON true", "SELECT dispositions, accounts"),
        (
            "WITH a AS (INSERT INTO calls (id) SELECT 1) UPDATE dispositions SET x = 1 FROM calls",
            "INSERT calls, UPDATE dispositions",
        ),
    ],
)
def test_a_statement_is_known_by_what_it_does(sql: str, known_as: str) -> None:
    assert name(sql) == known_as
