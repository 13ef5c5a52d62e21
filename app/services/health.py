"""Health: whether this process lives, whether Wrapup works, and the figures behind it."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.lane import Doubt
from app.domain.lifecycle import State, shown
from app.domain.schedules import RunState
from app.storage import processes, reports, schedules, schema
from app.storage.processes import Seen

# The scheduler rings every five seconds even if nothing is due, so a worker that lives has taken one by then.
_RECENTLY = timedelta(seconds=15)

LATENCY_BUCKETS_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be so, whether it is, and what was seen."""

    name: str
    ok: bool
    detail: str


class Health:
    """Looks whether everything is there that a disposition needs on its way."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def ready(self) -> list[Check]:
        """Database, schema, and that somebody delivers."""
        try:
            async with self._engine.connect() as connection:
                at = await schema.current(connection)
                if not schema.is_current(at):
                    detail = f"at {at or 'nothing'}, this code needs {schema.head()}: run `wrapup migrate`"
                    return [Check("database", True, "answers"), Check("migrations", False, detail)]
                consumed = await processes.consumed_within(connection, _RECENTLY)
                seen = await processes.seen(connection, _RECENTLY)
        except (SQLAlchemyError, OSError) as error:
            return [Check("database", False, f"does not answer ({type(error).__name__})")]
        return [
            Check("database", True, "answers"),
            Check("migrations", True, f"at {at}"),
            _delivery(consumed, seen),
        ]

    async def metrics(self) -> bytes:
        """The figures in Prometheus' text format, for all processes together, out of the database."""
        async with self._engine.connect() as connection:
            counted = await reports.counts(connection)
            ages = await reports.oldest_due_ages(connection)
            trouble = await reports.accounts_in_trouble(connection)
            seen = await processes.seen(connection, _RECENTLY)
            runs = await schedules.count_runs(connection)
        figures = _Figures()
        figures.schedule_runs.update(runs)
        for row in counted:
            match row.kind:
                case "state":
                    name = row.key.partition(":")[0]
                    figures.states[shown(State(name), on_hold=row.on_hold)] += row.n
                case "attempt":
                    figures.outcomes[row.key] += row.n
                case "latency":
                    figures.latencies[row.key] += row.n
                case _:
                    figures.latency_sum_ms += row.n
        figures.oldest_due = max(ages.values(), default=0.0)
        for row in trouble:
            (figures.holds if row.kind == "hold" else figures.doubts)[row.why] = row.n
        for one in seen:
            figures.processes[one.kind] += 1
            figures.rates[one.kind] += one.rate
        registry = CollectorRegistry()
        registry.register(figures)
        return generate_latest(registry)


def _delivery(consumed: bool, seen: Sequence[Seen]) -> Check:
    if consumed:
        return Check("delivery", True, "a worker took a wake-up recently")
    if schedulers := [one.rate for one in seen if one.kind == "scheduler"]:
        rate = f"{sum(schedulers):.1f} attempts a second"
        return Check("delivery", True, f"no worker takes wake-ups; the scheduler delivers in their place, {rate}")
    return Check(
        "delivery", False, "no worker and no scheduler was seen recently: start `wrapup worker` and `wrapup scheduler`"
    )


class _Figures(Collector):
    """The counts of one moment as metrics."""

    def __init__(self) -> None:
        self.states: defaultdict[str, int] = defaultdict(int, {state.value: 0 for state in State})
        self.outcomes: defaultdict[str, int] = defaultdict(int)
        self.latencies: defaultdict[str, int] = defaultdict(int)
        self.processes: defaultdict[str, int] = defaultdict(int, {"worker": 0, "scheduler": 0})
        self.holds: dict[str, int] = {}
        self.doubts: dict[str, int] = {doubt.value: 0 for doubt in Doubt}
        self.rates: defaultdict[str, float] = defaultdict(float, {"worker": 0.0, "scheduler": 0.0})
        self.schedule_runs: dict[str, int] = {state.value: 0 for state in RunState}
        self.latency_sum_ms = 0
        self.oldest_due = 0.0

    def collect(self) -> Iterator[Metric]:
        """The metric families."""
        states = GaugeMetricFamily("wrapup_dispositions", "Dispositions by state.", labels=["state"])
        for state, n in self.states.items():
            states.add_metric([state], n)
        yield states
        yield GaugeMetricFamily(
            "wrapup_oldest_due_seconds", "For how long the oldest due disposition has been due.", self.oldest_due
        )
        holds = GaugeMetricFamily("wrapup_accounts_on_hold", "Accounts on hold, by cause.", labels=["cause"])
        for cause, n in sorted(self.holds.items()):
            holds.add_metric([cause], n)
        yield holds
        doubts = GaugeMetricFamily(
            "wrapup_accounts_in_doubt", "Accounts that are sent one call at a time, a probe.", labels=["doubt"]
        )
        for doubt, n in self.doubts.items():
            doubts.add_metric([doubt], n)
        yield doubts
        attempts = CounterMetricFamily("wrapup_attempts", "Finished attempts by outcome.", labels=["outcome"])
        for outcome, n in sorted(self.outcomes.items()):
            attempts.add_metric([outcome], n)
        yield attempts
        bounds = [str(bound) for bound in LATENCY_BUCKETS_MS]
        totals = itertools.accumulate(self.latencies[bound] for bound in [*bounds, "inf"])
        names = [str(bound / 1000) for bound in LATENCY_BUCKETS_MS] + ["+Inf"]
        yield HistogramMetricFamily(
            "wrapup_call_seconds",
            "Duration of calls to CloudAgent.",
            buckets=list(zip(names, totals, strict=True)),
            sum_value=self.latency_sum_ms / 1000,
        )
        runs = CounterMetricFamily("wrapup_schedule_runs", "Runs of the schedules there are.", labels=["state"])
        for state, n in self.schedule_runs.items():
            runs.add_metric([state], n)
        yield runs
        living = GaugeMetricFamily("wrapup_processes", "Processes seen recently, by kind.", labels=["kind"])
        for kind, n in self.processes.items():
            living.add_metric([kind], n)
        yield living
        rates = GaugeMetricFamily(
            "wrapup_attempts_per_second", "Attempts brought to their end, over ten seconds, by kind.", labels=["kind"]
        )
        for kind, rate in self.rates.items():
            rates.add_metric([kind], rate)
        yield rates
