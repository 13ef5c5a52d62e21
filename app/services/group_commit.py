"""Group commit: what arrives while a write is under way is written together by the next one.

No timer. A lone item is written at once; under load the groups grow by themselves, as large as the database is slow.
Intake stores requests through it, delivery records results through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")


class Overloaded(Exception):  # it names a condition that the caller maps to an error of its own
    """More items wait than the limit allows: the database is slower than what arrives."""


class GroupCommit(Generic[Item, Result]):
    """Collects items into groups and hands each group to ``write``, ``writers`` groups at a time.

    ``write`` gives one result for each item, in order; a result that is an exception is raised to its submitter
    alone. If ``write`` itself raises, one of the items is poison: the group is written again in halves, until the
    poison fails alone and its neighbours are stored. So ``write`` does all or nothing of a group, and what is no
    item's fault (the database is gone) it must not raise but give as results.

    Two items with the same ``key`` are never in two groups that are written at the same time: the later one would
    have an even chance to be written first.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        key: Callable[[Item], Hashable] = id,
        largest: int = 500,
        waiting: int = 10_000,
        writers: int = 2,
    ) -> None:
        self._write = write
        self._key = key
        self._largest = largest
        self._limit = waiting
        self._writers = writers
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._at_work: set[asyncio.Task[None]] = set()
        self._busy: set[Hashable] = set()  # the keys of what is being written

    async def submit(self, item: Item) -> Result:
        """The item's result, once the group that holds it is written. Raises ``Overloaded`` if too many wait."""
        if len(self._waiting) >= self._limit:
            raise Overloaded
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._at_work) < self._writers:
            self._at_work.add(asyncio.create_task(self._work()))
        return await future

    async def drain(self) -> None:
        """Returns when all that was submitted is written and answered."""
        while self._at_work:
            await asyncio.wait(self._at_work)

    async def _work(self) -> None:
        try:
            await self._write_groups()
        finally:
            # In the same breath as the look that found nothing more: what comes after it finds no writer at work that
            # does not work any more, and begins one.
            self._at_work.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _write_groups(self) -> None:
        while group := self._next_group():
            keys = {self._key(item) for item, _ in group}
            self._busy |= keys
            try:
                results = await self._results([item for item, _ in group])
            finally:
                self._busy -= keys
            for (_, future), result in zip(group, results, strict=True):
                if future.done():
                    continue  # its submitter went away; what is written stays written
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _next_group(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        """Takes the next items, but for those whose key is being written: the writer at it comes back for them."""
        group: list[tuple[Item, asyncio.Future[Result]]] = []
        left: list[tuple[Item, asyncio.Future[Result]]] = []
        for entry in self._waiting[: self._largest]:
            (left if self._key(entry[0]) in self._busy else group).append(entry)
        self._waiting[: self._largest] = left
        return group

    async def _results(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        try:
            results = await self._write(items)
        except Exception as error:
            if len(items) == 1:
                return [error]
            half = len(items) // 2
            return [*await self._results(items[:half]), *await self._results(items[half:])]
        if len(results) != len(items):
            # Nobody can tell whose they are; and an error that left the loop here would leave everybody waiting.
            return [RuntimeError(f"{len(results)} results for {len(items)} items")] * len(items)
        return results
