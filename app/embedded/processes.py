"""Child processes: started so that none outlives its parent, noticed when they die, stopped with a grace."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from app.domain.errors import WrapupError

_TICK = 0.05  # seconds between two looks at a child that is starting
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds before a child that died is started again
_STEADY = 10.0  # seconds after which a child counts as up, so that its next death is a first one

_STDERR = 2
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

_log = structlog.get_logger(__name__)


class ProcessFailed(WrapupError):
    """A child that died while it started, or was not ready in time."""


@dataclass(frozen=True, slots=True)
class Command:
    """How one child is run, recognised as ready, and stopped. Times are in seconds."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    ready: Callable[[], bool] = lambda: True
    """Looks once, quickly, and never raises. It is not called before the process runs."""
    ready_within: float = 20.0
    tries: int = 1
    """How many deaths before it was ever ready make a failure of the start."""
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0
    """How long a stop may take before the whole process group is killed."""
    stdin: str = ""
    """Written to it at each start: the place for a secret, which would be seen by all among the arguments."""
    log_file: Path | None = None
    """Takes the output, which goes to our stderr otherwise."""
    uid: int | None = None
    """The user and group to run as, for a parent that is root; its own otherwise."""


class Child:
    """A command that is kept running: whoever calls `tend` regularly has it started again when it died.

    Needs the main thread: Linux kills the process when the *thread* that started it ends.
    """

    def __init__(self, command: Command) -> None:
        self.command = command
        self.deaths = 0
        """In a row, without having been up for a while in between."""
        self._process: subprocess.Popen[bytes] | None = None
        self._launched_at = 0.0
        self._due_at = 0.0

    @property
    def pid(self) -> int | None:
        """Of the running process; None while there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Runs the process, and returns when it is ready; raises ``ProcessFailed`` when it won't be."""
        try:
            wait_until_ready([self])
        except BaseException:
            self.stop()
            raise

    def tend(self) -> None:
        """Starts the process if it is due, notices its death."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._due_at:
                self._process = _launch(self.command)
                self._launched_at = now
            return
        status = self._process.poll()
        if status is None:
            return
        self.kill()  # what it left behind must not work on beside its successor
        self._process = None
        if now - self._launched_at >= _STEADY:
            self.deaths = 0
        pause = min(_LONGEST_PAUSE, _SHORTEST_PAUSE * 2**self.deaths)
        self.deaths += 1
        self._due_at = now + pause
        _log.warning("child died", child=self.command.name, status=_tell(status), again_in_seconds=pause)

    def stop(self) -> None:
        """Ends the process: its stop signal, the grace, then SIGKILL for its whole process group."""
        self.deaths, self._due_at = 0, 0.0
        if (process := self._process) is None:
            return
        process.send_signal(self.command.stop_signal)
        try:
            process.wait(self.command.grace)
        except subprocess.TimeoutExpired:
            _log.warning("child killed", child=self.command.name, after_seconds=self.command.grace)
        self.kill()
        process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL for the whole process group. Does not wait, and is safe in a signal handler."""
        if self._process is not None:
            # macOS answers EPERM for a group of which only zombies are left.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


@contextmanager
def running(command: Command) -> Iterator[None]:
    """A command that ends by itself runs beside the block, which is left when it has ended.

    Raises ``ProcessFailed`` if it does not end with success.
    """
    process = _launch(command)
    try:
        yield
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if status != 0:
        raise ProcessFailed(f"{command.name} failed ({_tell(status)}). {_last_words(command)}")


def wait_until_ready(children: Iterable[Child], *, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Starts the children together and returns when each is ready; ``meanwhile`` is called at every look.

    A child that dies is tried again, since what its killed predecessor left may still be going away. Raises
    ``ProcessFailed`` when that happens too often or takes longer than the child's ``ready_within``.
    """
    began = time.monotonic()
    waiting = list(children)
    while True:
        meanwhile()
        waiting = [child for child in waiting if not _is_ready(child)]
        if not waiting:
            return
        for child in waiting:
            if child.deaths >= child.command.tries:
                raise ProcessFailed(f"{child.command.name} does not start. {_last_words(child.command)}")
            if time.monotonic() - began > child.command.ready_within:
                raise ProcessFailed(
                    f"{child.command.name} was not ready within {child.command.ready_within:g} s. "
                    + _last_words(child.command)
                )
        time.sleep(_TICK)


def _is_ready(child: Child) -> bool:
    child.tend()
    return child.pid is not None and child.command.ready()


def _launch(command: Command) -> subprocess.Popen[bytes]:
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(f"{command.name} must be started from the main thread: it dies with its thread")
    with command.log_file.open("ab") if command.log_file else nullcontext(_STDERR) as output:
        process = subprocess.Popen(  # noqa: S603  # the commands are ours
            command.argv,
            env=command.env,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C in a terminal reaches the parent only, which stops them in order
            preexec_fn=_death_with(os.getpid()),
            user=command.uid,
            group=command.uid,
            extra_groups=None if command.uid is None else (),
        )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin:  # it may be dead already, or not care
        process.stdin.write(command.stdin.encode())
    return process


def _death_with(parent: int) -> Callable[[], None] | None:
    """Has the kernel kill the child when the parent ends, however it ends. Linux only."""
    libc = _LIBC
    if libc is None:
        return None

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it ended before this was arranged
            os._exit(1)

    return arrange


def _tell(status: int) -> str:
    return f"exit {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def _last_words(command: Command) -> str:
    if command.log_file is None or not command.log_file.exists():
        return "Its messages are above."
    lines = command.log_file.read_text(errors="replace").splitlines()
    return f"The end of {command.log_file}: {' / '.join(lines[-3:]) or '(empty)'}"
