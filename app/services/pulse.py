"""The pulse: tells those who look at pages that something has changed.

One look at the database a second for all of them together, in each process, and none while nobody looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.storage import pulse
from app.storage.engine import DATABASE_TROUBLE

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 1.0


class Pulse:
    """Watches for whoever asks. ``every`` is in seconds."""

    def __init__(self, engine: AsyncEngine, *, every: float = _EVERY_SECONDS) -> None:
        self._engine = engine
        self._every = every
        self._mark: str | None = None
        self._beat = asyncio.Condition()
        self._watchers = 0
        self._looking: asyncio.Task[None] | None = None
        self.ending = False
        """Set when the process is to stop: watchers go home within a second, and hold nobody up."""

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Looks for as long as somebody is within."""
        self._watchers += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers and self._looking is not None:
                self._looking.cancel()
                self._looking, self._mark = None, None

    async def after(self, seen: str | None, seconds: float) -> str | None:
        """The mark as soon as it is another than ``seen``; the same, or None, if nothing changes for ``seconds``.

        Within ``watching``.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        async with self._beat:
            while self._mark is None or self._mark == seen:
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or self.ending:
                    return seen
                try:
                    await asyncio.wait_for(self._beat.wait(), left)
                except TimeoutError:
                    return seen
            return self._mark

    async def _look(self) -> None:
        while True:
            try:
                async with self._engine.connect() as connection:
                    self._mark = await pulse.mark(connection)
            except DATABASE_TROUBLE as error:  # there will be another look
                log.warning("no pulse", error=type(error).__name__)
            async with self._beat:
                self._beat.notify_all()
            await asyncio.sleep(self._every)
