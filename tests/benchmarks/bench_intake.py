"""Intake against the echo ceiling, the usual way, and the database's own COMMIT: ``make bench-intake``.

All in one run on one machine, in alternating rounds; each figure is minimum, median and maximum over the rounds.
PostgreSQL is as durable as in production (fsync, synchronous_commit on).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from cryptography.fernet import Fernet

from app.embedded.binaries import find_postgres
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.valkey import EmbeddedValkey
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.settings import Settings
from app.storage import schema
from app.wiring import open_services
from tests.benchmarks.backlog import crowd

_seed = 10**14


@dataclass(frozen=True, slots=True)
class Server:
    """Where processes listen, each on a port of its own: ``url`` names them all, comma-separated."""

    url: str
    pids: Sequence[int]

    def memory(self) -> list[float]:
        """What each holds now, and the most that it ever held: MiB."""
        kinds = ("VmRSS", "VmHWM")
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in self.pids]
        return [float(re.search(rf"{kind}:\s+(\d+)", text)[1]) / 1024 for kind in kinds for text in texts]  # type: ignore[index]  # the kernel's


@contextmanager
def server(*argv: str, env: dict[str, str], processes: int = 1) -> Iterator[Server]:
    """Processes that listen, until the block ends."""
    with ExitStack() as stack:
        started = [stack.enter_context(_process(argv, env)) for _ in range(processes)]
        yield Server(",".join(url for url, _ in started), [pid for _, pid in started])


@contextmanager
def _process(argv: Sequence[str], env: dict[str, str]) -> Iterator[tuple[str, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    log = Path(tempfile.gettempdir()) / f"bench-{port}.log"
    words = [sys.executable, *argv, "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(words, env=os.environ | env, stdout=out, stderr=out)
    try:
        for _ in range(400):
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise SystemExit(log.read_text())
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(20)


def load(urls: str, key: str, clients: int, seconds: float) -> dict[str, Any]:
    """One round of load from a process of its own."""
    global _seed
    _seed += 10**8
    targets = ",".join(f"{url}/v1/dispositions" for url in urls.split(","))
    words = [sys.executable, "-m", "tests.benchmarks.load", targets, key, str(clients), str(seconds), str(_seed)]
    figures: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    if set(figures["statuses"]) != {"202"}:
        raise SystemExit(f"answers were not all 202: {figures['statuses']}")
    return figures


def pgbench(url: str, clients: int, seconds: float) -> tuple[float, float]:
    """Single-row INSERT and COMMIT by ``clients``: transactions a second, and mean latency in ms."""
    binary = Path(str(find_postgres(None).postgres)).parent / "pgbench"
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(
            "INSERT INTO bench_rows VALUES (gen_random_uuid(), '1234567890123456', '918012345678', 'a17', 'Sale', "
            "'Customer will pay by card on Friday', 'deal-1', 'bench');\n"
        )
        script.flush()
        host = re.search(r"host=([^&]+)", url)
        assert host
        words = [str(binary), "-n", "-h", host[1].replace("%2F", "/"), "-U", "postgres", "-f", script.name]
        done = subprocess.run(
            [*words, "-c", str(clients), "-T", str(max(1, round(seconds))), "-M", "prepared", "wrapup"],
            capture_output=True,
            text=True,
            check=True,
        )
    rate, latency = re.search(r"tps = ([\d.]+)", done.stdout), re.search(r"latency average = ([\d.]+)", done.stdout)
    assert rate
    assert latency
    return float(rate[1]), float(latency[1])


async def prepare(settings: Settings) -> str:
    """The schema, an account on hold (nothing is delivered here), and a key."""
    async with open_services(settings, name="bench") as services:
        await schema.upgrade(services.engine)
        await services.accounts.set("bench", AccountSettings(api_key=Secret("bench")), actor="bench")
        await services.accounts.hold("bench", actor="bench", reason="benchmark")
        return await services.keys.create("bench", ["submit"])


def spread(values: list[float], digits: int = 0) -> str:
    """Minimum, median, maximum."""
    return " / ".join(f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Of two series of the same rounds, round by round."""
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)], 2)


def main() -> None:
    """Measures and prints."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=3)
    arguments.add_argument("--clients", type=int, nargs="+", default=[1, 64, 128])
    arguments.add_argument("--crowded", type=int, default=0, help="also with so many dispositions in the table")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="wrapup-bench-", ignore_cleanup_errors=True) as folder:
        postgres, valkey = EmbeddedPostgres(Path(folder)), EmbeddedValkey(Path(folder))
        postgres.start()
        valkey.start()
        try:
            measure(postgres.url, valkey.url, options)
        finally:
            valkey.stop()
            postgres.stop()


def measure(database_url: str, broker_url: str, options: argparse.Namespace) -> None:
    """All series, round by round."""
    secret = Fernet.generate_key().decode()
    settings = Settings(database_url=database_url, broker_url=broker_url, secret_keys=secret)
    key = asyncio.run(prepare(settings))
    with psycopg.connect(database_url, autocommit=True) as connection:
        columns = "id uuid PRIMARY KEY, ucid text, did text, agent text, code text, comments text, ref text, acc text"
        connection.execute(f"CREATE TABLE bench_rows ({columns})")
    env = {
        "WRAPUP_DATABASE_URL": database_url,
        "WRAPUP_BROKER_URL": broker_url,
        "WRAPUP_SECRET_KEYS": secret,
        "WRAPUP_CLIENT_RATE": "1000000",
        "BENCH_DATABASE_URL": database_url,
        "BENCH_BROKER_URL": broker_url,
    }
    uvicorn = ("-m", "uvicorn", "--no-access-log", "--log-level", "warning")
    wrapup = ("-m", "app.cli", "api")
    with (
        server(*uvicorn, "tests.benchmarks.rivals:echo", env={}) as echo,
        server(*wrapup, env=env) as one,
        server(*uvicorn, "tests.benchmarks.rivals:usual", env=env) as usual,
    ):
        urls = {"echo": echo.url, "wrapup": one.url, "usual": usual.url}
        for clients in options.clients:
            compare(urls, key, clients, database_url, options)
        with server(*wrapup, env=env, processes=2) as two:
            print("\nTwo API processes beside one, 128 clients:\n")
            rates = alternate({"one": one.url, "two": two.url}, key, 128, options)
            print(
                f"one {spread(rates['one'])}, two {spread(rates['two'])}, two / one {ratio(rates['two'], rates['one'])}"
            )
            for name, processes in (("echo", echo), ("usual", usual), ("wrapup, one", one), ("wrapup, two", two)):
                print(f"memory of {name}, MiB now and at most: {', '.join(f'{m:.0f}' for m in processes.memory())}")
        if options.crowded:
            before = alternate({"echo": echo.url, "wrapup": one.url}, key, 64, options)
            crowd(database_url, options.crowded)
            after = alternate({"echo": echo.url, "wrapup": one.url}, key, 64, options)
            # Against the echo of the same minute: filling the table takes long enough for the machine to change.
            empty = statistics.median(before["wrapup"]) / statistics.median(before["echo"])
            full = statistics.median(after["wrapup"]) / statistics.median(after["echo"])
            print(
                f"\nWith {options.crowded:,} dispositions in the table, 64 clients: {spread(after['wrapup'])} a second;"
            )
            print(f"of the echo's rate {full:.2f}, with a small table {empty:.2f}: {full / empty:.2f} of it")


def compare(urls: dict[str, str], key: str, clients: int, database_url: str, options: argparse.Namespace) -> None:
    """One table: every server and pgbench, in alternating rounds."""
    series: dict[str, list[dict[str, Any]]] = {name: [] for name in urls}
    commits: list[tuple[float, float]] = []
    for url in urls.values():
        load(url, key, clients, 1)
    for _ in range(options.rounds):
        for name, url in urls.items():
            series[name].append(load(url, key, clients, options.seconds))
        commits.append(pgbench(database_url, clients, options.seconds))
    report(clients, series, commits)


def alternate(urls: dict[str, str], key: str, clients: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Rates in alternating rounds."""
    rates: dict[str, list[float]] = {name: [] for name in urls}
    for url in urls.values():
        load(url, key, clients, 1)
    for _ in range(options.rounds):
        for name, url in urls.items():
            rates[name].append(load(url, key, clients, options.seconds)["rate"])
    return rates


def report(clients: int, series: dict[str, list[dict[str, Any]]], commits: list[tuple[float, float]]) -> None:
    """One table, as Markdown."""
    rates = {name: [one["rate"] for one in figures] for name, figures in series.items()}
    print(f"\n{clients} clients (minimum / median / maximum)\n\n| | requests/s | p50 ms | p99 ms |\n|---|---|---|---|")
    for name, figures in series.items():
        p50, p99 = ([one[key] for one in figures] for key in ("p50_ms", "p99_ms"))
        print(f"| {name} | {spread(rates[name])} | {spread(p50, 2)} | {spread(p99, 2)} |")
    print(f"| pgbench | {spread([rate for rate, _ in commits])} | mean {spread([ms for _, ms in commits], 2)} | |")
    p99 = ratio([one["p99_ms"] for one in series["wrapup"]], [one["p99_ms"] for one in series["echo"]])
    print(f"\nwrapup / echo {ratio(rates['wrapup'], rates['echo'])}, wrapup / usual", end=" ")
    print(f"{ratio(rates['wrapup'], rates['usual'])}, p99 wrapup / echo {p99}")
    if clients == 1:
        medians = [one["p50_ms"] for one in series["wrapup"]]
        extra = [mine - commit for mine, (_, commit) in zip(medians, commits, strict=True)]
        print(f"median of a lone request beyond the bare COMMIT, ms: {spread(extra, 2)}")


if __name__ == "__main__":
    main()
