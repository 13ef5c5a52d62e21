"""Delivery against stock Celery, dramatiq and procrastinate: ``make bench-delivery``.

All in one run on one machine, in alternating rounds, each over a window of full work on a backlog; each figure is
minimum, median and maximum over the rounds. PostgreSQL is as durable as in production (fsync, synchronous_commit on),
and what all of them call is a process of its own on the same cores.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence

from tests.benchmarks import backlog, light_load
from tests.benchmarks.deliverers import Figures, make_tables, measure_rival, measure_wrapup, rivals
from tests.benchmarks.place import Place, opened

_ACCOUNTS = 20
_WRAPUP = "Wrapup"

Measure = Callable[[], Figures]


def main() -> None:
    """Measures and prints."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=3, help="of a round's window")
    arguments.add_argument("--latencies", type=int, nargs="*", default=[5, 50, 200], help="of the upstream, in ms")
    arguments.add_argument("--backlog", type=int, default=30_000, help="dispositions that wait for Wrapup")
    arguments.add_argument("--usual-backlog", type=int, default=6_000, help="and for each of the others")
    arguments.add_argument("--lone", type=int, default=150, help="dispositions of a round of light load; 0: none")
    arguments.add_argument("--alone", action="store_true", help="Wrapup without the others")
    options = arguments.parse_args()
    with opened(accounts=_ACCOUNTS) as place:
        make_tables(place)
        for latency in options.latencies:
            compare(place, latency, options)
        if options.lone:
            compare_light(place, options)


def compare(place: Place, latency: int, options: argparse.Namespace) -> None:
    """One table: everybody, in alternating rounds, at one latency of the upstream."""
    place.upstream(f"/latency/{latency}")
    series: dict[str, list[Figures]] = {}
    for _ in range(options.rounds):
        figures = measure_wrapup(place, options.seconds, options.backlog)
        series.setdefault(_WRAPUP, []).append(figures)
        backlog.clear(place.database_url, place.settings.require_broker_url())
        for name, rival in {} if options.alone else rivals(place).items():
            figures = measure_rival(rival, place, options.seconds, options.usual_backlog)
            series.setdefault(name, []).append(figures)
            backlog.clear(place.database_url, place.settings.require_broker_url())
    report(latency, series)


def report(latency: int, series: dict[str, list[Figures]]) -> None:
    """One table, as Markdown."""
    print(f"\nUpstream {latency} ms (minimum / median / maximum)\n")
    print("| | dispositions/s | worker CPU s per 1,000 | PostgreSQL CPU s per 1,000 |\n|---|---|---|---|")
    for name, figures in series.items():
        rate = spread([one.rate for one in figures])
        worker, postgres = (spread([getattr(one, of) for one in figures], 2) for of in ("worker_cpu", "postgres_cpu"))
        print(f"| {name} | {rate} | {worker} | {postgres} |")
    stock = {name: figures for name, figures in series.items() if name.startswith("Celery")}
    if stock:
        best = max(stock, key=lambda name: statistics.median(one.rate for one in stock[name]))
        rate = ratio([one.rate for one in series[_WRAPUP]], [one.rate for one in stock[best]])
        cpu = ratio([one.cpu for one in series[_WRAPUP]], [one.cpu for one in stock[best]])
        print(f"\nWrapup / {best}: {rate} of its rate, {cpu} of its CPU for a disposition", flush=True)


def compare_light(place: Place, options: argparse.Namespace) -> None:
    """The delays while there is little to do, in alternating rounds."""
    place.upstream("/latency/5")
    series: dict[str, list[Sequence[float]]] = {}
    for _ in range(options.rounds):
        series.setdefault(_WRAPUP, []).append(light_load.wrapup(place, options.lone))
        for name, rival in {} if options.alone else rivals(place).items():
            series.setdefault(name, []).append(light_load.rival(rival, place, options.lone))
    print("\nLight load, ms from acceptance to CloudAgent's receipt (minimum / median / maximum)\n")
    print("| | p50 | p99 |\n|---|---|---|")
    for name, rounds in series.items():
        halves = spread([one[len(one) // 2] for one in rounds], 1)
        print(f"| {name} | {halves} | {spread([one[int(len(one) * 0.99)] for one in rounds], 1)} |", flush=True)


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Minimum, median, maximum."""
    return " / ".join(f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Of two series of the same rounds, round by round."""
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)], 2)


if __name__ == "__main__":
    main()
