"""A large backlog drained, and a claim among many finished rows: ``make bench-backlog``.

The claim's times are of the database at work as in production; the five million rows take some minutes to make.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.storage import calls
from app.storage.engine import make_engine
from tests.benchmarks import backlog, deliverers
from tests.benchmarks.place import Place, opened
from tests.benchmarks.programs import resident_megabytes

_ACCOUNTS = 50
_ROOM = 100  # calls of one claim

# What was claimed is finished at once, so that each claim finds as many calls in flight: none.
_FINISH = (
    text("UPDATE calls SET lease_until = NULL WHERE lease_until IS NOT NULL"),
    text("UPDATE dispositions SET state = 'delivered', finished_at = now() WHERE id = ANY(:ids)"),
)


def main() -> None:
    """Measures and prints."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--drain", type=int, default=100_000, help="dispositions to drain; 0: none")
    arguments.add_argument("--due", type=int, default=50_000, help="dispositions that are due for the claims; 0: none")
    arguments.add_argument("--finished", type=int, default=5_000_000, help="and finished ones beside them")
    arguments.add_argument("--claims", type=int, default=200)
    options = arguments.parse_args()
    if options.drain:
        with opened(accounts=_ACCOUNTS) as place:
            drain(place, options.drain)
    if options.due:
        with opened(accounts=_ACCOUNTS) as place:
            backlog.fill(place.database_url, options.due)
            empty = asyncio.run(claims(place, options.claims))
        with opened(accounts=_ACCOUNTS) as place:
            backlog.crowd(place.database_url, options.finished)
            backlog.fill(place.database_url, options.due)
            full = asyncio.run(claims(place, options.claims))
        print(f"\nA claim of {_ROOM} among {options.due:,} due ones, ms (p10 / median / p90)\n")
        print(f"nothing else in the tables: {spread(empty)}\n{options.finished:,} finished ones beside: {spread(full)}")
        print(f"medians: {statistics.median(full) / statistics.median(empty):.2f} of it")


def drain(place: Place, number: int) -> None:
    """Prints once a second how far it is and how much memory the worker's processes and the scheduler hold."""
    place.upstream("/latency/5")
    print(f"{number:,} dispositions of {_ACCOUNTS} accounts; memory of the worker's processes and the scheduler\n")
    print("| s | delivered | MB |\n|---|---|---|")
    with deliverers.wrapup(place) as programs:
        backlog.fill(place.database_url, number)
        deliverers.ring(place)
        began = time.monotonic()
        while True:
            calls_made = place.calls()
            memory = sum(resident_megabytes(one.pid) for one in programs)
            print(f"| {time.monotonic() - began:.0f} | {calls_made:,} | {memory:.0f} |", flush=True)
            if calls_made >= number:
                break
            time.sleep(1)
        took = time.monotonic() - began
    delivered = place.ask("SELECT count(*) FROM dispositions WHERE state = 'delivered' AND attempt_count = 1")
    if not delivered == calls_made == number:
        raise SystemExit(f"{number} dispositions, {calls_made} calls, {delivered} delivered: should be one number")
    print(f"\n{number / took:,.0f} a second")


async def claims(place: Place, number: int) -> list[float]:
    """Milliseconds of so many claims, each with its COMMIT."""
    engine = make_engine(place.database_url, name="bench")
    try:
        for _ in range(number // 10):  # plans and buffers as they are when it has run for a while
            await _claim(engine)
        return [await _claim(engine) for _ in range(number)]
    finally:
        await engine.dispose()


async def _claim(engine: AsyncEngine) -> float:
    began = time.perf_counter()
    async with engine.begin() as connection:
        claim = await calls.claim(connection, room=_ROOM, most=_ROOM, lease=timedelta(seconds=20), worker="bench")
    took = (time.perf_counter() - began) * 1000
    if len(claim.deliveries) != _ROOM:
        raise SystemExit(f"{len(claim.deliveries)} claimed: give more than --due")
    async with engine.begin() as connection:
        for statement in _FINISH:
            await connection.execute(statement, {"ids": [one.disposition_id for one in claim.deliveries]})
    return took


def spread(values: Sequence[float]) -> str:
    """Tenth percentile, median, ninetieth."""
    tenths = statistics.quantiles(values, n=10)
    return f"{tenths[0]:.1f} / {statistics.median(values):.1f} / {tenths[-1]:.1f}"


if __name__ == "__main__":
    main()
