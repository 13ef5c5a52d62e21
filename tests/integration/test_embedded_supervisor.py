"""The supervisor of ``wrapup up``, with small stand-ins as children and with the real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from app.embedded.processes import Child, Command, ProcessFailed

PROLOGUE = """
import json, os, pathlib, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup, whose wish would be respected
from app.embedded.processes import Command
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.supervisor import Supervisor
from app.embedded.valkey import EmbeddedValkey

folder = pathlib.Path(sys.argv[1])

def announce(pids):
    (folder / "new.json").write_text(json.dumps(pids))
    (folder / "new.json").rename(folder / "pids.json")

def child(name, program, **more):
    # The folder is among its arguments, by which the test finds what is left of it.
    return Command(name, (sys.executable, "-c", program, str(folder), name), dict(os.environ), **more)

SLEEPER = "import time; time.sleep(1000)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
NOTING = '''
import pathlib, signal, sys
def note(*_):
    with open(pathlib.Path(sys.argv[1], "told-to-stop"), "a") as file:
        print(sys.argv[2], file=file)
signal.signal(signal.SIGTERM, note)
pathlib.Path(sys.argv[1], "listening-" + sys.argv[2]).touch()
signal.pause()
'''
"""


class Supervised:
    """A process of its own that supervises."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROLOGUE + textwrap.dedent(program), folder],
            stdout=(folder / "output").open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def pids(self) -> dict[str, int]:
        try:
            return dict(json.loads((self.folder / "pids.json").read_text()))
        except FileNotFoundError:
            return {}

    def until(self, condition: Callable[[], object], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.folder / "output").read_text()
            time.sleep(0.005)

    def until_running(self, *names: str) -> dict[str, int]:
        self.until(lambda: set(self.pids()) == set(names))
        return self.pids()

    def kill_and_await_another(self, name: str) -> None:
        before = self.pids()[name]
        os.kill(before, signal.SIGKILL)
        self.until(lambda: self.pids().get(name) not in (None, before))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)

    def processes(self) -> list[str]:
        """What runs with the folder among its arguments, or within it (as PostgreSQL's processes do)."""
        return [found for entry in Path("/proc").glob("[0-9]*") if (found := self._names_folder(entry))]

    def _names_folder(self, process: Path) -> str | None:
        try:
            arguments = (process / "cmdline").read_text().replace("\0", " ")
            works_in = str((process / "cwd").readlink())
        except OSError:  # it has just ended
            return None
        return f"{process.name} {arguments}" if str(self.folder) in arguments + works_in else None


@pytest.fixture
def supervise() -> Iterator[Callable[[str], Supervised]]:
    """Runs a program that supervises; what is left of it is killed in the end."""
    started: list[Supervised] = []
    # Not in tmp_path, which is too long a path for sockets.
    with tempfile.TemporaryDirectory(prefix="wrapup-test-", ignore_cleanup_errors=True) as folder:

        def start(program: str) -> Supervised:
            started.append(Supervised(Path(folder), program))
            return started[-1]

        yield start
        for supervised in started:
            supervised.process.kill()
            supervised.process.wait()
            for left in supervised.processes():
                with suppress(ProcessLookupError):
                    os.kill(int(left.split()[0]), signal.SIGKILL)


def test_kill_9_of_the_supervisor_leaves_no_process_behind(supervise: Callable[[str], Supervised]) -> None:
    supervised = supervise("""
        with Supervisor(announce) as supervisor:
            postgres, valkey = EmbeddedPostgres(folder, durable=False), EmbeddedValkey(folder)
            postgres.prepare()
            (folder / "url").write_text(postgres.url)
            supervisor.start(postgres.command)
            supervisor.start(valkey.command, child("stubborn", STUBBORN))
            (folder / "all").touch()
            supervisor.run()
    """)
    supervised.until((supervised.folder / "all").exists)
    with psycopg.connect((supervised.folder / "url").read_text()):
        assert len(supervised.processes()) > 6  # PostgreSQL is several
        supervised.process.kill()
        supervised.process.wait()
        supervised.until(lambda: not supervised.processes(), seconds=5)


def test_kill_9_while_the_cluster_is_made_leaves_no_process_behind(
    supervise: Callable[[str], Supervised],
) -> None:
    supervised = supervise("EmbeddedPostgres(folder, durable=False).prepare()")
    supervised.until(lambda: list(supervised.folder.glob("postgres.unfinished-*/PG_VERSION")))
    supervised.process.kill()
    supervised.process.wait()
    supervised.until(lambda: not supervised.processes(), seconds=5)


def test_a_child_that_is_killed_is_started_again_and_the_others_stay(
    supervise: Callable[[str], Supervised],
) -> None:
    supervised = supervise("""
        with Supervisor(announce) as supervisor:
            supervisor.start(child("one", SLEEPER), child("two", SLEEPER))
            supervisor.run()
    """)
    before = supervised.until_running("one", "two")
    supervised.kill_and_await_another("one")
    assert supervised.pids()["two"] == before["two"]
    assert "killed by SIGKILL" in (supervised.folder / "output").read_text()


def test_servers_that_are_killed_are_started_again_with_what_they_held(
    supervise: Callable[[str], Supervised],
) -> None:
    supervised = supervise("""
        with Supervisor(announce) as supervisor:
            postgres, valkey = EmbeddedPostgres(folder), EmbeddedValkey(folder)
            postgres.prepare()
            supervisor.start(postgres.command, valkey.command)
            (folder / "url").write_text(postgres.url)
            supervisor.run()
    """)
    supervised.until((supervised.folder / "url").exists)
    url = (supervised.folder / "url").read_text()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    for name in ("postgres", "valkey"):
        supervised.kill_and_await_another(name)

    def kept() -> bool:
        try:
            with psycopg.connect(url) as connection:
                return connection.execute("SELECT number FROM kept").fetchone() == (7,)
        except psycopg.OperationalError:
            return False

    supervised.until(kept)
    assert supervised.stop() == 0
    assert supervised.processes() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_children_in_reverse_order_of_their_start_and_ends_with_0(
    supervise: Callable[[str], Supervised], number: signal.Signals
) -> None:
    supervised = supervise("""
        with Supervisor(announce) as supervisor:
            for name in ("database", "worker", "api"):
                listens = folder / f"listening-{name}"
                supervisor.start(child(name, NOTING, ready=listens.exists))
            (folder / "all").touch()
            supervisor.run()
    """)
    supervised.until((supervised.folder / "all").exists)
    assert supervised.stop(number) == 0
    assert (supervised.folder / "told-to-stop").read_text().split() == ["api", "worker", "database"]


def test_a_signal_during_the_start_stops_what_was_started(supervise: Callable[[str], Supervised]) -> None:
    supervised = supervise("""
        with Supervisor(announce) as supervisor:
            supervisor.start(child("first", SLEEPER), child("never-ready", SLEEPER, ready=lambda: False))
            supervisor.run()
    """)
    supervised.until_running("first", "never-ready")
    assert supervised.stop() == 0
    assert supervised.processes() == []


def test_a_child_that_does_not_stop_is_killed_after_its_grace_with_its_whole_group(
    supervise: Callable[[str], Supervised],
) -> None:
    supervised = supervise("""
        forking = "import os; os.fork();" + STUBBORN
        with Supervisor(announce) as supervisor:
            supervisor.start(child("stubborn", forking, grace=0.3))
            supervisor.run()
    """)
    supervised.until(lambda: len(supervised.processes()) == 3)
    assert supervised.stop() == 0
    assert supervised.processes() == []


def test_a_second_signal_kills_at_once(supervise: Callable[[str], Supervised]) -> None:
    supervised = supervise("""
        with Supervisor(announce) as supervisor:
            listens = folder / "listening-stubborn"
            supervisor.start(child("stubborn", NOTING + "signal.pause()", ready=listens.exists, grace=1000))
            (folder / "all").touch()
            supervisor.run()
    """)
    supervised.until((supervised.folder / "all").exists)
    supervised.process.send_signal(signal.SIGINT)
    supervised.until((supervised.folder / "told-to-stop").exists)
    assert supervised.stop(signal.SIGINT) == 128 + signal.SIGINT
    supervised.until(lambda: not supervised.processes(), seconds=5)


def test_what_a_dead_child_leaves_behind_is_gone_before_it_starts_again(
    supervise: Callable[[str], Supervised],
) -> None:
    supervised = supervise("""
        forking = "import os, time; os.fork(); time.sleep(1000)"
        with Supervisor(announce) as supervisor:
            supervisor.start(child("parent", forking))
            supervisor.run()
    """)
    supervised.until(lambda: len(supervised.processes()) == 3)
    supervised.kill_and_await_another("parent")
    supervised.until(lambda: len(supervised.processes()) == 3)


def test_a_child_that_dies_at_its_start_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log"
    argv = (sys.executable, "-c", "print('the port is taken'); raise SystemExit(3)")
    with pytest.raises(ProcessFailed, match=r"api does not start.*the port is taken"):
        Child(Command("api", argv, dict(os.environ), ready=lambda: False, log_file=log)).start()


def test_a_child_that_is_not_ready_in_time_is_named_and_stopped() -> None:
    argv = (sys.executable, "-c", "import time; time.sleep(1000)")
    child = Child(Command("api", argv, dict(os.environ), ready=lambda: False, ready_within=0.1))
    with pytest.raises(ProcessFailed, match=r"api was not ready within 0\.1 s"):
        child.start()
    assert child.pid is None


def test_the_pause_before_a_new_start_grows_while_it_keeps_dying() -> None:
    child = Child(Command("crashing", (sys.executable, "-c", "raise SystemExit(1)"), dict(os.environ)))
    starts: list[float] = []
    while len(starts) < 4:
        running = child.pid
        child.tend()
        if child.pid not in (None, running):
            starts.append(time.monotonic())
    child.stop()
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert pauses[0] > 0.2
    assert pauses[1] > 0.4
    assert pauses[2] > 0.8
