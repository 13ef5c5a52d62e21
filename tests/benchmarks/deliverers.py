"""Who delivers: Wrapup, stock Celery, dramatiq and procrastinate, each as its users run it, at work on a backlog."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from app.broker import Bell
from tests.benchmarks import backlog, usual
from tests.benchmarks.place import Place
from tests.benchmarks.programs import Program, cpu_seconds

_WARM_UP_CALLS = 100
_WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Figures:
    """What a round showed: dispositions a second, and seconds of CPU for a thousand of them."""

    rate: float
    worker_cpu: float
    postgres_cpu: float

    @property
    def cpu(self) -> float:
        """Both together."""
        return self.worker_cpu + self.postgres_cpu


@contextmanager
def wrapup(place: Place, *, processes: int = 2) -> Iterator[list[Program]]:
    """A worker and the scheduler, ready."""
    programs = [Program("app.cli", "worker", "--processes", str(processes), env=place.env)]
    try:
        programs[0].wait_for(lambda: programs[0].said.count("worker ready") == processes, "the worker's start")
        programs.append(Program("app.cli", "scheduler", env=place.env))
        served = "SELECT count(*) FROM processes WHERE consumed_at > clock_timestamp() - interval '2 s'"
        programs[0].wait_for(lambda: place.ask(served), "a wake-up")
        yield programs
    finally:
        for program in programs:
            program.stop()


def ring(place: Place) -> None:
    """Wakes a worker, as intake does after its COMMIT."""
    bell = Bell(place.settings.require_broker_url())
    bell.ring()


def measure_wrapup(place: Place, seconds: float, number: int) -> Figures:
    """One round. Ends the benchmark if the calls, their attempts and the deliveries are not one number."""
    before = place.calls()
    with wrapup(place) as programs:
        backlog.fill(place.database_url, number)
        ring(place)
        figures = _window(place, programs, seconds, before + number)
    calls = place.calls() - before
    attempts = place.ask("SELECT count(*) FROM attempts WHERE outcome = 'saved' AND finished_at IS NOT NULL")
    delivered = place.ask("SELECT count(*) FROM events WHERE to_state = 'delivered'")
    if not calls == attempts == delivered:
        raise SystemExit(f"{calls} calls, {attempts} attempts, {delivered} delivered: these should be one number")
    return figures


@dataclass(frozen=True)
class Rival:
    """One that delivers the usual way: the module that it is run as, and how jobs are handed to it."""

    words: tuple[str, ...]
    enqueue: Callable[[Iterable[str]], None]
    threads: int = 1  # that share a pool of database connections
    copies: int = 1  # that are started side by side

    @contextmanager
    def running(self, place: Place) -> Iterator[list[Program]]:
        """Its workers, started."""
        env = {**place.env, "BENCH_POOL": str(self.threads)}
        programs = [Program(*self.words, env=env) for _ in range(self.copies)]
        try:
            yield programs
        finally:
            for program in programs:
                program.kill()


def make_tables(place: Place) -> None:
    """Those of the others: what they deliver, and procrastinate's queue."""
    with psycopg.connect(place.database_url) as connection:
        connection.execute(usual.TABLES)
    os.environ.update(place.env)
    from tests.benchmarks import usual_procrastinate

    usual_procrastinate.make_schema()


def rivals(place: Place) -> dict[str, Rival]:
    """The others. Their modules read the environment, so they are imported once that is there."""
    os.environ.update(place.env)
    from tests.benchmarks import usual_celery, usual_dramatiq, usual_procrastinate

    celery = ("celery", "--quiet", "-A", "tests.benchmarks.usual_celery", "worker", "--loglevel", "warning")
    dramatiq = ("dramatiq", "tests.benchmarks.usual_dramatiq", "--processes", "2", "--threads", "16")
    procrastinate = ("procrastinate", "--app", "tests.benchmarks.usual_procrastinate.app", "worker")
    prefork = {
        f"Celery, prefork {size}": Rival((*celery, "--concurrency", str(size)), usual_celery.enqueue)
        for size in (2, 8, 32)
    }
    return {
        **prefork,
        "Celery, threads 64": Rival((*celery, "--pool=threads", "--concurrency=64"), usual_celery.enqueue, threads=64),
        "dramatiq, 2 x 16 threads": Rival(dramatiq, usual_dramatiq.enqueue, threads=16),
        "procrastinate, 2 x 16 threads": Rival(
            (*procrastinate, "--concurrency", "16"), usual_procrastinate.enqueue, threads=16, copies=2
        ),
    }


def measure_rival(rival: Rival, place: Place, seconds: float, number: int) -> Figures:
    """One round."""
    before = place.calls()
    rival.enqueue(backlog.fill_usual(place.database_url, number))
    with rival.running(place) as programs:
        return _window(place, programs, seconds, before + number)


def _window(place: Place, programs: list[Program], seconds: float, last: int) -> Figures:
    """What happens within ``seconds`` of full work. Ends the benchmark if there was not enough to do."""
    begin = place.calls()
    programs[0].wait_for(lambda: place.calls() > begin + _WARM_UP_CALLS, "the first calls")
    time.sleep(_WARM_UP_SECONDS)
    postgres = place.postgres_pid()

    def used() -> tuple[int, float, float, float]:
        return place.calls(), time.monotonic(), sum(cpu_seconds(one.pid) for one in programs), cpu_seconds(postgres)

    start = used()
    time.sleep(seconds)
    end = used()
    if end[0] >= last:
        raise SystemExit(f"the backlog was used up: give more than --backlog, which {seconds:g} s were too long for")
    calls, took, worker, database = (after - before for after, before in zip(end, start, strict=True))
    return Figures(calls / took, worker / calls * 1000, database / calls * 1000)
