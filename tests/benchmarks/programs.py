"""Programs that are measured: started with a log file, and what they and their children cost in CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from workers.watchdog import die_with_parent

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Program:
    """A Python module that runs as a process of its own until it is stopped."""

    def __init__(self, *words: str, env: Mapping[str, str]) -> None:
        self._log = tempfile.NamedTemporaryFile("w+b", prefix="wrapup-bench-", suffix=".log")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", *words],
            env={**os.environ, **env},
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        self.pid = self._process.pid

    @property
    def said(self) -> str:
        """All that it has printed."""
        return Path(self._log.name).read_text(errors="replace")

    def wait_for(self, ready: Callable[[], object], what: str, seconds: float = 60) -> None:
        """Returns when it is ready. Ends the benchmark, with the program's own last words, if it is not in time."""
        give_up = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise SystemExit(f"{what} did not happen:\n{self.said[-3000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Asks it to stop, and waits until it has."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        self._log.close()

    def kill(self) -> None:
        """Ends it and its children at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)
        self._log.close()


def cpu_seconds(pid: int) -> float:
    """What a process and all that it ever started have used, except for those whose own parent has not waited yet."""
    user, system, children_user, children_system = map(int, _stat(pid)[11:15])
    used = (user + system + children_user + children_system) / _TICKS
    return used + sum(cpu_seconds(child) for child in _children(pid))


def resident_megabytes(pid: int) -> float:
    """The memory of a process and its children, what they share counted for each."""
    own = int(_stat(pid)[21]) * _PAGE / 1e6
    return own + sum(resident_megabytes(child) for child in _children(pid))


def parent_of(pid: int) -> int:
    """The process that started this one."""
    return int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: the state is the first."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return ["0"] * 50  # it has just ended


def _children(pid: int) -> Iterator[int]:
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            yield from map(int, (thread / "children").read_text().split())
