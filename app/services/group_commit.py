"""Group commit: what arrives while a write is under way is written together by the next one.

No timer. A lone item is written at once; under load the groups grow by themselves, as large as the database is slow.
Intake stores requests through it, delivery records results through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Overloaded(Exception):  # it names a condition that the caller maps to an error of its own
    """More items wait than the limit allows: the database is slower than what arrives."""


class GroupCommit(Generic[Item, Result]):
    """Collects items into groups and hands each group to ``write``, ``writers`` groups at a time.

    ``write`` gives one result for each item, in order; a result that is an exception is raised to its submitter
    alone. If ``write`` itself raises, every submitter of that group gets the exception.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        largest: int = 500,
        waiting: int = 10_000,
        writers: int = 2,
    ) -> None:
        self._write = write
        self._largest = largest
        self._limit = waiting
        self._writers = writers
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._at_work: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Result:
        """The item's result, once the group that holds it is written. Raises ``Overloaded`` if too many wait."""
        if len(self._waiting) >= self._limit:
            raise Overloaded
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._at_work) < self._writers:
            task = asyncio.create_task(self._work())
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)
        return await future

    async def drain(self) -> None:
        """Returns when all that was submitted is written and answered."""
        while self._at_work:
            await asyncio.wait(self._at_work)

    async def _work(self) -> None:
        while self._waiting:
            group = self._waiting[: self._largest]
            del self._waiting[: self._largest]
            try:
                results = await self._write([item for item, _ in group])
            except Exception as error:
                results = [error] * len(group)
            for (_, future), result in zip(group, results, strict=True):
                if future.done():
                    continue  # its submitter went away; what is written stays written
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
