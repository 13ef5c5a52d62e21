"""Servers that can be killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.embedded.processes import Child
from app.embedded.valkey import EmbeddedValkey


class Broker:
    """A Valkey."""

    def __init__(self, folder: Path) -> None:
        valkey = EmbeddedValkey(folder, durable=False)
        self.url = valkey.url
        self._child = Child(valkey.command)

    def start(self) -> None:
        self._child.start()

    def stop(self) -> None:
        self._child.kill()
        self._child.stop()

    @property
    def pid(self) -> int:
        assert self._child.pid is not None
        return self._child.pid


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process stands still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
