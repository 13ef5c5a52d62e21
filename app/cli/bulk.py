"""Many rows on their way into the intake: in order, many in hand, each to its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from signal import SIGINT, SIGTERM

from sqlalchemy.exc import DBAPIError

from app.cli.columns import KEY
from app.cli.feed import Feed
from app.cli.rows import Row
from app.cli.session import reason
from app.domain.errors import Fault, InvalidInput, KeyReused, NotStored, WrapupError
from app.services.intake import Receipt

_IN_HAND = 2000  # rows

# Before a row that was not stored is handed over again, in seconds. After the last the database counts as gone.
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)

Answer = Receipt | WrapupError | None
"""What became of a row; None if it is good, and nothing was to be stored."""

Take = Callable[[dict[str, object], str], Awaitable[Awaitable[Answer]]]
"""Hands fields over, with their idempotency key; what it returns is awaited for the answer."""

Failed = Callable[[Row, str, str | None], None]
"""Is told of a row that failed: why, and the key that it has to keep (see ``_key_to_keep``)."""


class Fate(StrEnum):
    """What rows come to."""

    GOOD = "good"
    STORED = "stored"
    THERE_ALREADY = "there_already"
    FAILED = "failed"


class Bulk:
    """Hands rows over and counts what they come to.

    Rows of one call are handed over one after the other, each when the one before is at its end: a row that has to be
    tried again must not come after a newer one. Other rows don't wait for each other.
    """

    def __init__(self, feed: Feed, take: Take, *, run: str, failed: Failed) -> None:
        self.counts: Counter[Fate] = Counter()
        self.settled = 0  # rows that are at their end, and all before them
        self.at = 0  # of the last of them
        self.stopped = False
        self._feed = feed
        self._take = take
        self._run = run
        self._failed = failed
        self._stopping = asyncio.Event()
        self._room = asyncio.Semaphore(_IN_HAND)
        self._in_hand: asyncio.Queue[tuple[Row, asyncio.Task[Answer]] | None] = asyncio.Queue()
        self._last_of_call: dict[str, asyncio.Task[Answer]] = {}

    async def work(self, *, seen: Callable[[], None]) -> None:
        """Takes rows until there are no more or it is interrupted, and returns when all in hand are at their end.

        ``seen`` is called after each. Raises ``Unreadable`` after what was read before is at its end.
        """
        with self._interruptible():
            handing_over = asyncio.create_task(self._hand_over())
            try:
                while (begun := await self._in_hand.get()) is not None:
                    row, task = begun
                    self._settle(row, await task)
                    self._room.release()
                    seen()
                await handing_over
            finally:
                handing_over.cancel()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self._stop()
            for number in (SIGINT, SIGTERM):
                loop.remove_signal_handler(number)  # the second one ends it at once

        for number in (SIGINT, SIGTERM):
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in (SIGINT, SIGTERM):
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self.stopped = True
        self._stopping.set()
        self._feed.end()

    async def _hand_over(self) -> None:
        try:
            while rows := await self._feed.take():
                for row in rows:
                    await self._room.acquire()
                    if self._stopping.is_set():
                        return
                    self._in_hand.put_nowait((row, await self._begin(row)))
        finally:
            self._in_hand.put_nowait(None)

    async def _begin(self, row: Row) -> asyncio.Task[Answer]:
        ucid = row.fields.get("ucid")
        call = ucid.strip() if isinstance(ucid, str) else ""
        before = self._last_of_call.get(call)
        first = None if before else await self._offer(row)
        task = asyncio.create_task(self._bring_in(row, first, before))
        if call:
            self._last_of_call[call] = task
            task.add_done_callback(lambda done: self._forget(call, done))
        return task

    def _forget(self, call: str, done: asyncio.Task[Answer]) -> None:
        if self._last_of_call.get(call) is done:
            del self._last_of_call[call]

    async def _bring_in(self, row: Row, first: Awaitable[Answer] | None, before: asyncio.Task[Answer] | None) -> Answer:
        """A row's whole way. Gives ``NotStored`` only after every try, or when it is interrupted."""
        if before is not None:
            await asyncio.wait([before])
        answer = await self._heard(first or await self._offer(row))
        for pause in _PAUSES:
            if not isinstance(answer, NotStored):
                return answer
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), max(pause, answer.retry_after))
                return answer
            answer = await self._heard(await self._offer(row))
        if isinstance(answer, NotStored):
            self._stop()  # the rest would fail, too, each after all that waiting
        return answer

    async def _offer(self, row: Row) -> Awaitable[Answer]:
        fields = dict(row.fields)
        key = fields.pop(KEY, None) or self._key(row)
        if row.fault is not None:
            return _known(InvalidInput([Fault("", row.fault)]))
        if not isinstance(key, str):
            return _known(InvalidInput([Fault(KEY, f"{KEY} must be a text")]))
        return await self._take(fields, key.strip())

    async def _heard(self, awaited: Awaitable[Answer]) -> Answer:
        try:
            return await awaited
        except DBAPIError as error:  # of this row alone: its neighbours are stored
            return WrapupError(f"the database refuses it: {reason(error)}")

    def _settle(self, row: Row, answer: Answer) -> None:
        self.settled, self.at = row.number, row.at
        match answer:
            case None:
                self.counts[Fate.GOOD] += 1
            case Receipt():
                self.counts[Fate.THERE_ALREADY if answer.duplicate else Fate.STORED] += 1
            case _:
                self.counts[Fate.FAILED] += 1
                self._failed(row, _why(answer), self._key_to_keep(row, answer))

    def _key(self, row: Row) -> str:
        return f"file:{self._run}:{row.number}"

    def _key_to_keep(self, row: Row, answer: WrapupError) -> str | None:
        """Of a row that may be stored, for all we know: so it can't be stored twice."""
        return self._key(row) if isinstance(answer, NotStored) and not row.fields.get(KEY) else None


def _known(answer: Answer) -> Awaitable[Answer]:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    future.set_result(answer)
    return future


def _why(error: WrapupError) -> str:
    if isinstance(error, InvalidInput):
        return "; ".join(fault.message.rstrip(".") for fault in error.faults)
    if isinstance(error, KeyReused):
        return f"{error} With another --run all rows have new ones."
    return str(error)
