"""``make faults``: runs under torment until every crash point was hit often enough, then the planted faults.

What is thrown, what is checked and how to read a failure: ``docs/faults.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.faults.checker import Findings
from tests.faults.planted import BY_NAME, PLANTED, Planted, copy_code, run_tests
from tests.faults.run import Ledger, Scenario, now_and_then_longer_than_the_lease, run

_EVERYTHING = Scenario(seconds=60)
# The nemesis keeps processes from much that they would come to.
_POINTS = Scenario(seconds=60, acts=())
# So do the frequent points. What is left is to be come to more often: finishes that are too late, and doubt.
_RARE = Scenario(
    seconds=60,
    acts=(),
    rare=True,
    delay=now_and_then_longer_than_the_lease,
    trouble="503=50,hang=10,auth_fail=5,401=5",
)


def torment(folder: Path, *, seed: int, minutes: float, hits: int) -> tuple[Findings, Ledger, int]:
    """Runs until every point that is known was hit so often, or the time is over; at least one run."""
    total, ledger = Findings(), Ledger()
    give_up = time.monotonic() + minutes * 60
    for number in itertools.count():
        where = folder / f"run-{seed + number}"
        scenario = replace(_scenario(number, ledger, hits), goal=hits)
        found = asyncio.run(run(where, scenario, seed=seed + number, ledger=ledger))
        total.add(found)
        print(f"run {number}, seed {seed + number}: {_line(total, ledger, hits, number + 1)}", flush=True)
        if found.broken():
            _tell(found, where)
        else:
            shutil.rmtree(where)
        if time.monotonic() > give_up or not _missing(ledger, hits):
            return total, ledger, number + 1
    raise AssertionError("unreachable")


def _scenario(number: int, ledger: Ledger, hits: int) -> Scenario:
    """All three in turn; once only rare points are left, nothing but theirs."""
    if 0 < len(_missing(ledger, hits)) <= len(ledger.known) / 8:
        return _RARE
    return (_EVERYTHING, _POINTS, _RARE)[number % 3]


def plant(folder: Path, planted: Planted, *, seed: int) -> bool:
    """Whether the fault is caught, and nothing else is seen: with what only brings it to light, nothing may show."""
    folder.mkdir(parents=True, exist_ok=True)
    caught: Sequence[str]
    if planted.tests:
        if said := run_tests(copy_code(folder / "control", planted.also), planted.tests):
            print(f"{planted.name}: its tests fail without the fault: {said}", flush=True)
            return False
        code = copy_code(folder / "code", [*planted.also, *planted.texts])
        said = run_tests(code, planted.tests)
        caught = [said.strip().splitlines()[-1]] if said else []
    else:
        if planted.also:
            control = copy_code(folder / "control", planted.also)
            found = asyncio.run(run(folder / "control-run", planted.scenario, seed=seed, code=control))
            if found.broken():
                print(f"{planted.name}: something shows without the fault: {found.broken()}", flush=True)
                return False
        code = copy_code(folder / "code", [*planted.also, *planted.texts])
        found = asyncio.run(run(folder / "run", planted.scenario, seed=seed, code=code))
        caught = [
            f"{promise} {len(sentences)}"
            for promise, sentences in found.broken().items()
            if promise in planted.caught_as
        ]
    print(f"planted: {planted.name}: {', '.join(caught) if caught else 'NOT CAUGHT'}", flush=True)
    return bool(caught)


def main() -> int:
    """The command. Exit status 1: a promise was broken, a point was missed, or a planted fault was not caught."""
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has SIGINT ignored for what it runs behind
        signal.signal(number, signal.default_int_handler)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # that a proxy's connections are cut is no news
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    ok = True
    line = ""
    if not options.planted:
        total, ledger, runs = torment(folder, seed=options.seed, minutes=options.minutes, hits=options.hits)
        line = _line(total, ledger, options.hits, runs)
        print("done:", ", ".join(f"{name} {times}" for name, times in sorted(ledger.acts.items())))
        if missing := _missing(ledger, options.hits):
            print(f"points hit less than {options.hits} times (give it more --minutes):", *missing, sep="\n    ")
        ok = not total.broken() and not missing
    if not options.runs:
        chosen = [BY_NAME[name] for name in options.planted] if options.planted else PLANTED
        results = [plant(folder / one.name.replace(" ", "-"), one, seed=options.seed) for one in chosen]
        print(f"planted faults caught: {sum(results)}/{len(results)}")
        ok = ok and all(results)
    if line:
        print(line)
    if ok:
        shutil.rmtree(folder)
    else:
        print(f"what there is to look at is in {folder}")
    return 0 if ok else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each further one has the next")
    parser.add_argument("--minutes", type=float, default=90, help="for the runs; the planted faults take 6 more")
    parser.add_argument("--hits", type=int, default=20, help="how often each crash point is to be hit")
    parser.add_argument("--runs", action="store_true", help="no planted faults")
    parser.add_argument("--planted", action="append", choices=sorted(BY_NAME), help="only this planted fault")
    return parser.parse_args()


def _line(total: Findings, ledger: Ledger, hits: int, runs: int) -> str:
    missing = _missing(ledger, hits)
    return total.line(points_hit=len(ledger.known) - len(missing), points=len(ledger.known), runs=runs)


def _missing(ledger: Ledger, hits: int) -> list[str]:
    return sorted(f"{ledger.hits[point]} {point}" for point in ledger.known if ledger.hits[point] < hits)


def _tell(found: Findings, where: Path) -> None:
    for promise, sentences in found.broken().items():
        print(f"{promise}:", *sentences[:10], sep="\n    ")
    print(f"see {where}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
