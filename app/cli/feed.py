"""A feed: rows are read in a thread of their own, so that a slow pipe holds up nothing that is in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from threading import Condition, Thread

from app.cli.rows import Row

_AHEAD = 1000  # rows read before they are asked for


class Feed:
    """Gives the rows as they are read, many at a time if there are many."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self._loop = asyncio.get_running_loop()
        self._change = asyncio.Event()
        self._room = Condition()  # guards what is below
        self._read: list[Row] = []
        self._hungry = False
        self._ended = False
        self._error: Exception | None = None
        # A daemon: a read from a pipe has no end that we could bring about.
        Thread(target=self._work, name="feed", daemon=True).start()

    async def take(self) -> list[Row]:
        """All that was read since the last time, at least one row; none at the end.

        Raises what the reading raised, after all that was read before.
        """
        while True:
            self._change.clear()
            with self._room:
                rows, self._read = self._read, []
                self._hungry = not rows
                self._room.notify()
            if rows:
                return rows
            if self._ended:
                if self._error is not None:
                    raise self._error
                return []
            await self._change.wait()

    def end(self) -> None:
        """Nothing more is given out."""
        with self._room:
            self._ended = True
            self._read = []
            self._room.notify()
        self._change.set()

    def _work(self) -> None:
        error: Exception | None = None
        try:
            for row in self._rows:
                if not self._put(row):
                    return
        except Exception as raised:  # raised again where the rows are taken
            error = raised
        with self._room:
            if self._ended:
                return
            self._ended, self._error = True, error
        self._tell()

    def _put(self, row: Row) -> bool:
        """False if nobody wants it any more."""
        with self._room:
            while len(self._read) >= _AHEAD and not self._ended:
                self._room.wait()
            if self._ended:
                return False
            self._read.append(row)
            hungry, self._hungry = self._hungry, False
        if hungry:
            self._tell()
        return True

    def _tell(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._change.set)
        except RuntimeError:
            return  # the loop is closed: the command has ended in another way
