"""Faults that are planted in copies of the code, to see that each is caught.

A fault is an exact text in a file and what stands there in its place. When the text is no longer there, planting fails:
then the code has moved on, and the fault has to be planted where it is now.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.postgres_proxy import Edge
from tests.faults.run import Scenario
from tests.faults.site import LEASE
from tests.faults.upstream_proxy import SEND

_CODE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Text:
    """What is written in place of what, in which file."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Planted:
    """A fault. ``caught_as``: the promises, by the checker's names, one of which at least has to show as broken.

    ``tests``: those that are meant to catch it instead, where it takes more than watching from outside.
    ``also``: texts that are no faults, but bring the fault to light; with them alone nothing may show.
    """

    name: str
    texts: Sequence[Text]
    caught_as: frozenset[str] = frozenset()
    scenario: Scenario = field(default_factory=Scenario)
    tests: Sequence[str] = ()
    also: Sequence[Text] = ()


class Unplanted(Exception):  # it names what is so
    """The text of a fault is not in the code."""


def copy_code(folder: Path, texts: Sequence[Text]) -> Path:
    """A copy of the code in ``folder``, with these texts. Raises ``Unplanted``."""
    for name in ("app", "workers", "migrations", "tests"):
        shutil.copytree(_CODE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_CODE / "pyproject.toml", folder)
    for text in texts:
        file = folder / text.file
        content = file.read_text()
        if content.count(text.old) != 1:
            raise Unplanted(f"{text.file} has {content.count(text.old)} times, not once: {text.old!r}")
        file.write_text(content.replace(text.old, text.new))
    return folder


def run_tests(code: Path, tests: Sequence[str]) -> str:
    """Runs tests of a copy on its own code; gives what they said if any failed, nothing if all passed."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=code,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode not in (0, 1):
        raise Unplanted(f"the tests did not run: {ran.stdout}{ran.stderr}")
    return ran.stdout if ran.returncode else ""


def _at(chance: random.Random, *, share: float, low: float, high: float) -> float:
    return chance.uniform(low, high) if chance.random() < share else 0.0


def _slow_finish(chance: random.Random, edge: Edge) -> float:
    """Some recordings reach the database when their lease is out."""
    slow = edge.kind == "worker" and edge.statement == "LOCK calls" and not edge.done
    return _at(chance, share=0.25, low=LEASE, high=LEASE + 1) if slow else 0.0


def _slow_claim(chance: random.Random, edge: Edge) -> float:
    """Some claims are answered when their lease is out."""
    slow = edge.statement.startswith("COMMIT after") and "INSERT attempts" in edge.statement and edge.done
    return _at(chance, share=0.2, low=LEASE, high=LEASE + 2) if slow else 0.0


def _slow_packet(chance: random.Random, edge: Edge) -> float:
    """Some requests take nearly as long to arrive as their call may take at all."""
    return _at(chance, share=0.3, low=0.4, high=0.9) if edge.statement == SEND and not edge.done else 0.0


_STALL = Text(
    "app/cloudagent/transport.py",
    """        request.extensions["wrapup.sent"] = True
""",
    f"""        request.extensions["wrapup.sent"] = True
        if __import__("random").random() < 0.01:
            time.sleep({LEASE + 3})  # as a machine that stands still at the worst moment
""",
)

_HAMMERING = (
    "tests/integration/test_intake_trouble.py"
    "::test_two_processes_hammering_the_same_calls_in_any_order_never_block_each_other"
)

PLANTED: Sequence[Planted] = (
    Planted(
        "no watchdog",
        [Text("workers/watchdog.py", "signal.setitimer(signal.ITIMER_REAL, seconds)", "pass")],
        frozenset({"out of order", "unexplained", "after the lease"}),
        Scenario(seconds=25, settle=30, acts=(), points=False),
        also=[_STALL],
    ),
    Planted(
        "no epoch guard",
        [
            Text(
                "app/storage/calls.py",
                "held = {(row.id, row.epoch) for row in rows if row.leased}",
                "leased = {row.id for row in rows if row.leased}\n"
                "    held = {pair for pair in epochs if pair[0] in leased}",
            ),
            Text(
                "app/storage/attempts.py",
                "WHERE calls.id = f.call_id AND calls.epoch = f.epoch",
                "WHERE calls.id = f.call_id",
            ),
        ],
        frozenset({"unaudited", "out of order", "unexplained", "lost"}),
        Scenario(seconds=14, settle=40, acts=(), points=False, delay=_slow_finish),
    ),
    Planted(
        "202 before COMMIT",
        [
            Text(
                "app/services/intake.py",
                "            return await self._groups.submit(arrival)\n",
                "            asyncio.ensure_future(self._groups.submit(arrival))\n"
                "            return Receipt(arrival.id, State.QUEUED, arrival.new.account, arrival.new.ucid, False)\n",
            )
        ],
        frozenset({"lost"}),
        Scenario(seconds=10, settle=20, acts=(), faults=""),
    ),
    Planted(
        "scheduler off",
        [
            Text(
                "workers/scheduler.py",
                "    standing_in = False\n    more_to_prune",
                "    await asyncio.Event().wait()\n    standing_in = False\n    more_to_prune",
            ),
        ],
        frozenset({"lost"}),
        Scenario(
            seconds=6,
            settle=12,
            acts=(),
            points=False,
            faults="429:6=60",  # so that much becomes due when no client rings any more
            trouble="",
            settings={"WRAPUP_RETRY_DELAYS": "4s"},
        ),
    ),
    Planted(
        "attempt after call",
        [
            Text(
                "app/services/delivery.py",
                "        async with self._engine.begin() as connection:\n            return await calls.claim(",
                "        async with self._engine.begin() as connection:\n            claim = await calls.claim(",
            ),
            Text(
                "app/services/delivery.py",
                "    async def _deliver(self, delivery: Delivery, start_by: float) -> None:\n",
                "            for delivery in claim.deliveries:\n"
                "                calling = self._deliver(delivery, time.monotonic() + 1)\n"
                "                self._in_flight.add(asyncio.create_task(calling))\n"
                "            await asyncio.sleep(0.05)\n"
                "        return __import__('dataclasses').replace(claim, deliveries=())\n\n"
                "    async def _deliver(self, delivery: Delivery, start_by: float) -> None:\n",
            ),
        ],
        frozenset({"unaudited"}),
        Scenario(seconds=10, settle=30, acts=()),
    ),
    Planted(
        "oldest first",
        [
            Text(
                "app/storage/calls.py",
                "PARTITION BY leased.call_id ORDER BY d.seq DESC",
                "PARTITION BY leased.call_id ORDER BY d.seq",
            )
        ],
        frozenset({"out of order"}),
        Scenario(seconds=10, settle=20, acts=(), points=False, faults="error=40,503=10", pause=0.05),
    ),
    Planted(
        "now() for the lease",
        [Text("app/storage/calls.py", "lease_until = clock_timestamp() + :lease", "lease_until = now() + :lease")],
        tests=["tests/integration/test_lease.py"],
    ),
    Planted(
        "lease shorter than the deadline",
        [
            Text(
                "app/settings.py",
                "return timedelta(seconds=self.call_deadline_seconds) + self.watchdog + self.lease_margin",
                "return timedelta(seconds=self.call_deadline_seconds) * 0.2",
            )
        ],
        frozenset({"out of order", "unexplained"}),
        Scenario(seconds=12, settle=30, acts=(), points=False, delay=_slow_packet, pause=0.15),
    ),
    Planted(
        "retry on success",
        [
            Text(
                "app/domain/retry.py",
                "            return Decision(DELIVER)\n",
                "            if situation.tries > 1:\n"
                "                return Decision(DELIVER)\n"
                "            return _again(situation, policy, situation.now)\n",
            )
        ],
        frozenset({"unexplained"}),
        Scenario(seconds=5, settle=20, acts=(), points=False),
    ),
    Planted(
        "no seq lock",
        [
            Text(
                "app/storage/dispositions.py",
                '    found = await connection.execute(_LOCK_CALLS, {"rows": _json(seeds)})\n',
                '    found = (await connection.execute(_LOCK_CALLS, {"rows": _json(seeds)})).all()\n'
                '    await connection.commit()\n    await connection.execute(text("SELECT pg_sleep(0.05)"))\n',
            )
        ],
        tests=[_HAMMERING],
    ),
    Planted(
        "hold ignored",
        [
            Text(
                "app/storage/calls.py",
                "WHERE hold_cause IS NULL AND lanes.account_id <> ALL(",
                "WHERE lanes.account_id <> ALL(",
            ),
            Text(
                "app/storage/calls.py",
                "WHERE hold_cause IS NULL\n    ), due AS",
                "    ), due AS",
            ),
        ],
        frozenset({"in spite of hold"}),
        Scenario(seconds=10, settle=20, acts=(), points=False),
    ),
    Planted(
        "key logged",
        [
            Text(
                "app/services/delivery.py",
                "                http_status=verdict.http_status,\n                latency_ms",
                "                http_status=verdict.http_status,\n"
                "                key=self._cipher.decrypt(delivery.api_key).reveal(),\n"
                "                latency_ms",
            )
        ],
        frozenset({"leaked"}),
        Scenario(seconds=4, settle=20, acts=(), points=False),
    ),
    Planted(
        "no latest start",
        [
            Text("app/services/delivery.py", "        if time.monotonic() > start_by:\n", "        if False:\n"),
            Text("app/services/delivery.py", "            start_by=start_by,\n", ""),
        ],
        frozenset({"after the lease"}),
        Scenario(seconds=14, settle=40, acts=(), points=False, delay=_slow_claim),
    ),
)

BY_NAME: Mapping[str, Planted] = {one.name: one for one in PLANTED}
