"""The checker of ``make faults``: it sees each kind of broken promise, and knows nothing of Wrapup's code."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.faults import checker
from tests.faults.checker import Evidence, check

CHECKER = Path(checker.__file__)


def at(second: float) -> str:
    return f"2026-11-26T01:00:{second:09.6f}Z"


def told(place: int, **changes: Any) -> dict[str, Any]:
    one = {"kind": "post", "account": "acme", "ucid": "1", "id": f"d{place}", "place": place, "status": 202}
    return one | {"sent_at": at(place), "told_at": at(place + 0.1)} | changes


def attempt(name: str, number: int = 1, second: float = 5, **changes: Any) -> dict[str, Any]:
    one = {"id": name, "number": number, "started_at": at(second), "finished_at": at(second + 0.5)}
    return one | {"outcome": "saved", "certainty": "answered"} | changes


def exported(place: int, *attempts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    one = {"id": f"d{place}", "account": "acme", "ucid": "1", "state": "delivered", "superseded_by": None}
    return one | {"cause": None, "attempts": list(attempts), "events": []} | changes


def arrival(name: str, second: float = 5.2, **changes: Any) -> dict[str, Any]:
    return {"request_id": name, "ucid": "1", "arrived_at": at(second), "applied": True} | changes


GOOD = Evidence(
    told=[told(1), told(2), told(2, status=200, sent_at=at(9))],
    arrivals=[
        arrival("a1"),
        arrival("a2", 6.2, applied=False),
        arrival("a3", 7.2, applied=False),
        arrival("a4", 8.2, applied=False),
        arrival("a5", 9.2),
    ],
    exported=[
        exported(1, attempt("a1")),
        exported(
            2,
            attempt("a2", 1, 6, outcome="unknown", certainty="sent_unknown", finished_at=None),
            attempt("a3", 2, 7, outcome="no_reply", certainty="sent_unknown"),
            attempt("a4", 3, 8, outcome="retry_later"),
            attempt("a5", 4, 9),
        ),
    ],
    said={"worker.log": "nothing in particular"},
    secrets=["KK0123456789"],
)


def test_a_good_run_breaks_nothing_and_its_repeats_are_explained() -> None:
    found = check(GOOD)
    assert found.broken() == {}
    assert found.line(points_hit=4, points=4, runs=1) == (
        "points 4/4, runs 1, accepted 2, lost 0, out of order 0, unaudited 0, "
        "repeats 3 = crash 1 + timeout 1 + recorded failure 1, unexplained 0"
    )


FIRST, SECOND = GOOD.exported


@pytest.mark.parametrize(
    ("promise", "broken"),
    [
        ("lost", {"told": [*GOOD.told, told(3)]}),
        ("lost", {"exported": [FIRST, {**SECOND, "state": "retrying"}]}),
        ("lost", {"arrivals": [{**one, "applied": False} for one in GOOD.arrivals]}),
        ("out of order", {"arrivals": [*GOOD.arrivals[1:], GOOD.arrivals[0]]}),
        ("out of order", {"exported": [FIRST, {**SECOND, "state": "superseded", "superseded_by": "d1"}]}),
        ("unaudited", {"arrivals": [*GOOD.arrivals, arrival("a6", 10)]}),
        ("unaudited", {"arrivals": [*GOOD.arrivals, arrival("a5", 10)]}),
        ("unaudited", {"arrivals": [arrival("a1", 4.9), *GOOD.arrivals[1:]]}),
        ("unaudited", {"arrivals": [arrival("a1", ucid="2"), *GOOD.arrivals[1:]]}),
        ("unaudited", {"exported": [exported(1, attempt("a1", certainty="not_sent")), SECOND]}),
        ("unaudited", {"exported": [exported(1, attempt("a1"), attempt("a0", 2, outcome=None)), SECOND]}),
        (
            "unaudited",
            {"exported": [{**FIRST, "events": [{"from": "sending", "action": "delivered"}] * 2}, SECOND]},
        ),
        (
            "unexplained",
            {
                "exported": [exported(1, attempt("a1"), attempt("a0", 2, 5.6)), SECOND],
                "arrivals": [GOOD.arrivals[0], arrival("a0", 5.7), *GOOD.arrivals[1:]],
            },
        ),
        (
            "unexplained",
            {
                "exported": [exported(1, attempt("a1", outcome="retry_later"), attempt("a0", 2, 5.3)), SECOND],
                "arrivals": [GOOD.arrivals[0], arrival("a0", 5.4), *GOOD.arrivals[1:]],
            },
        ),
        (
            "unexplained",
            {"arrivals": [GOOD.arrivals[0], *GOOD.arrivals[2:4], arrival("a2", 8.9), GOOD.arrivals[4]]},
        ),
        ("after the lease", {"lease": timedelta(seconds=0.1)}),
        (
            "in spite of hold",
            {
                "told": [
                    *GOOD.told,
                    {"kind": "hold", "account": "acme", "status": 200, "told_at": at(1)},
                    {"kind": "release", "account": "acme", "status": 200, "sent_at": at(20)},
                ]
            },
        ),
        ("harmed", {"exported": [FIRST, {**SECOND, "state": "failed", "cause": "no_reply"}], "calm": ["acme"]}),
        ("leaked", {"said": {"worker.log": "GET /?apiKey=KK0123456789&did=1"}}),
    ],
)
def test_each_broken_promise_is_seen(promise: str, broken: dict[str, Any]) -> None:
    assert set(check(replace(GOOD, **broken)).broken()) == {promise}


def test_it_knows_nothing_of_the_code_that_it_checks() -> None:
    # In a process of its own, which sees the standard library only.
    program = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(CHECKER)], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() in ([], ["__main__"], ["__mp_main__"])
