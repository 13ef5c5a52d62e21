"""The stream of changes: one reader of the trail for each process, any number of viewers.

While somebody watches, one task reads on in the audit trail, twice a second, and hands what is new to all viewers; a
further viewer costs the database nothing. Who comes back says where it was (``Last-Event-ID``), and gets what it has
missed from memory, or, after a restart, from the trail.

A viewer that is slow, or was away for too long, is told that it has missed something, and nothing more: it looks at
the list again. So nobody's slowness costs memory or holds up another
(``docs/decisions/0018-a-stream-from-the-trail.md``).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.sequence import InOrder
from app.services.keys import Caller
from app.storage import stream
from app.storage.engine import DATABASE_TROUBLE

log = structlog.get_logger(__name__)

_EVERY = timedelta(milliseconds=500)
_BATCH = 1_000  # lines of one read
_AT_ONCE = 5  # reads, before the rest is passed over
_KEPT = 2_000  # changes, for those who come back; and for one viewer that is slow
_UNSETTLED = 1_000  # lines before the newest, among which some may be still on their way


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the trail about a disposition or an account. ``number`` is where a viewer goes on."""

    number: int
    account: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Missed:
    """In place of changes that a viewer did not get."""

    number: int


class Viewer:
    """One who watches: what it has not taken yet. ``after``: it has everything up to that number."""

    def __init__(self, caller: Caller, after: int = 0) -> None:
        self._caller = caller
        self._after = after
        self._known: Collection[int] = ()
        self._waiting: deque[Change | Missed] = deque()
        self._woken = asyncio.Event()

    def tell(self, changes: Sequence[Change]) -> None:
        """Gives it those that are its own; in their place that it has missed some, if it has not taken the others."""
        own = [change for change in changes if self._is_for_it(change)]
        if not own:
            return
        if len(self._waiting) + len(own) > _KEPT:
            self.miss(changes[-1].number)
            return
        self._waiting.extend(own)
        self._woken.set()

    def knows(self, numbers: Collection[int]) -> None:
        """These are no news to it."""
        self._known = numbers

    def _is_for_it(self, change: Change) -> bool:
        is_news = change.number > self._after and change.number not in self._known
        return is_news and self._caller.owns(change.account)

    def miss(self, number: int) -> None:
        """Tells it that it has missed what there was, up to that number."""
        self._waiting.clear()
        self._waiting.append(Missed(number))
        self._woken.set()

    async def take(self, patience: float) -> list[Change | Missed]:
        """What there is for it; nothing, if nothing comes for ``patience`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._woken.wait()
        taken = [*self._waiting]
        self._waiting.clear()
        self._woken.clear()
        return taken


class Stream:
    """The changes of state, as they are committed."""

    def __init__(self, engine: AsyncEngine, *, every: timedelta = _EVERY) -> None:
        self._engine = engine
        self._every = every.total_seconds()
        self._viewers: set[Viewer] = set()
        self._watching = 0  # viewers, those included that are just coming
        self._order: InOrder | None = None
        self._kept: deque[Change] = deque()
        self._kept_from = 0  # all changes above this number are kept
        self._held_up: frozenset[int] = frozenset()  # lines that are seen and not told yet: one before them is missing
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    @asynccontextmanager
    async def watch(self, caller: Caller, after: int | None) -> AsyncIterator[Viewer]:
        """A viewer of what is the caller's: of what comes from now on, or of what came ``after`` that number."""
        viewer = Viewer(caller, after or 0)
        self._watching += 1
        try:
            async with self._starting:
                order = await self._start()
                if after is None:
                    viewer.knows(self._held_up)
                elif after < order.position:
                    await self._catch_up(viewer, after, order)
                self._viewers.add(viewer)  # nothing is awaited since: no change falls in between
            yield viewer
        finally:
            self._viewers.discard(viewer)
            self._watching -= 1
            if not self._watching:
                self._stop()

    async def aclose(self) -> None:
        """Ends the reading."""
        self._stop()

    async def _start(self) -> InOrder:
        if self._order is None:
            async with self._engine.connect() as connection:
                latest = await stream.latest(connection, _UNSETTLED)
            self._order = InOrder(latest[0] - 1 if latest else 0)
            self._kept.clear()
            self._kept_from = self._order.position
            await self._read(self._order)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._keep_reading(self._order))
        return self._order

    def _stop(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._reading = self._order = None

    async def _keep_reading(self, order: InOrder) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self._read(order)
            except DATABASE_TROUBLE as error:
                log.warning("the stream waits for the database", error=type(error).__name__)

    async def _read(self, order: InOrder) -> None:
        """Reads on, and hands over what is new."""
        for _ in range(_AT_ONCE):
            async with self._engine.connect() as connection:
                batch = await stream.after(connection, order.position, limit=_BATCH)
            numbers = [row.id for row in batch.rows]
            now = time.monotonic()
            new = set(order.settle(numbers, oldest=batch.oldest, following=batch.following, now=now))
            self._held_up = frozenset(numbers) - new
            changes = [_change(row) for row in batch.rows if row.id in new and _is_change(row)]
            if changes:
                self._keep(changes)
                for viewer in self._viewers:
                    viewer.tell(changes)
            if len(numbers) < _BATCH:
                return
        await self._pass_over(order)

    def _keep(self, changes: Sequence[Change]) -> None:
        self._kept.extend(changes)
        while len(self._kept) > _KEPT:
            self._kept_from = self._kept.popleft().number

    async def _pass_over(self, order: InOrder) -> None:
        """More comes than can be watched: goes on at the newest, and says so."""
        async with self._engine.connect() as connection:
            latest = await stream.latest(connection, 1)
        order.position = max(order.position, latest[-1] if latest else 0)
        self._kept.clear()
        self._kept_from = order.position
        for viewer in self._viewers:
            viewer.miss(order.position)

    async def _catch_up(self, viewer: Viewer, after: int, order: InOrder) -> None:
        """Gives a viewer that comes back what it has missed, if that is not too much."""
        if after < self._kept_from:
            position = order.position
            async with self._engine.connect() as connection:
                batch = await stream.after(connection, after, limit=_BATCH)
            missed = [row for row in batch.rows if row.id <= position]
            if len(missed) == _BATCH or position < self._kept_from:
                viewer.miss(order.position)
                return
            viewer.tell([_change(row) for row in missed if _is_change(row)])
            after = position
        viewer.tell([change for change in self._kept if change.number > after])


def _is_change(row: Row[Any]) -> bool:
    return row.account is not None and (row.disposition_id is not None or (row.subject or "").startswith("account:"))


def _change(row: Row[Any]) -> Change:
    return Change(
        row.id,
        row.account,
        {
            "at": row.at,
            "account": row.account,
            "disposition": row.disposition_id,
            "action": row.action,
            "from": row.from_state,
            "to": row.to_state,
            "reason": row.reason,
            "actor": row.actor,
        },
    )
