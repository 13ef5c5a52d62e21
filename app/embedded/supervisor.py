"""Keeps the children of ``wrapup up`` running until told to stop, then stops them, the last one first."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from app.embedded.processes import Child, Command, wait_until_ready

_TICK = 0.1  # seconds between two looks at the children
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """A signal asked to stop. Not an ``Exception``: nothing on the way should take it for a failure."""


class Supervisor:
    """A context that holds the children. Leaving it stops them all, in reverse order of their start.

    SIGINT, SIGTERM and SIGHUP ask to stop; a second one kills. The first one raises `StopRequested` in `start` or
    `run`, which the context itself takes for a normal end.
    """

    def __init__(self, on_change: Callable[[Mapping[str, int]], None] = lambda pids: None) -> None:
        """``on_change`` is given each running child's process id by name whenever one was started or died."""
        self._on_change = on_change
        self._announced: dict[str, int] = {}
        self._children: list[Child] = []
        self._stopping = False
        self._handlers: dict[signal.Signals, Any] = {}  # as they were before

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            # nohup's ignoring SIGHUP is respected, a shell's ignoring SIGINT for what it runs behind is not
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        while self._children:
            self._children.pop().stop()
        for number, before in self._handlers.items():
            signal.signal(number, before)
        return isinstance(error, StopRequested)

    def start(self, *commands: Command) -> None:
        """Starts the commands together, and returns when each is ready.

        Raises ``ProcessFailed`` for one that can't be started, `StopRequested` if a signal came meanwhile.
        """
        started = [Child(command) for command in commands]
        self._children += started
        wait_until_ready(started, meanwhile=self._tend)

    def run(self) -> NoReturn:
        """Starts again whatever dies, until a signal comes and raises `StopRequested`."""
        while True:
            self._tend()
            time.sleep(_TICK)

    def _tend(self) -> None:
        if self._stopping:
            raise StopRequested
        for child in self._children:
            child.tend()
        pids = {child.command.name: child.pid for child in self._children if child.pid is not None}
        if pids != self._announced:
            self._on_change(pids)
            self._announced = pids

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            return
        for child in self._children:
            child.kill()
        os._exit(128 + number)
