"""The runtime of a Celery child: one event loop in a thread of its own, as long as the child lives.

The task only wakes the pump on that loop and returns. So a wake-up reaches a pump that is busy as well as one that
sleeps, no backlog of wake-ups forms, and a call that hangs never keeps a task (``docs/decisions/0002``).
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from contextlib import suppress

import structlog
import uvloop

from app.services.attempts import recover
from app.services.delivery import Pump
from app.settings import Settings
from app.storage.engine import DATABASE_TROUBLE
from app.wiring import Deliverer, open_deliverer
from workers import watchdog

log = structlog.get_logger(__name__)

_BEAT_SECONDS = 1.0
_PAUSE_BEFORE_ANOTHER = 1.0  # seconds


class Runtime:
    """Runs a pump beside Celery's main thread."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pump: Pump | None = None
        self._consumed = False
        self._stopping = threading.Event()
        self._grace = 0.0

    def start(self, settings: Settings) -> None:
        """Starts the loop; called in the child, after the fork, in its main thread."""
        watchdog.die_with_parent()
        watchdog.arm()
        self._grace = settings.longest_call
        self._thread = threading.Thread(target=self._run, args=(settings,), name="runtime", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Says that something may be due. From any thread; before the loop runs it is not needed."""
        self._consumed = True
        if self._loop is not None and self._pump is not None:
            with suppress(RuntimeError):  # the loop has just been closed: this child is on its way out
                self._loop.call_soon_threadsafe(self._pump.wake)

    def stop(self) -> None:
        """Ends the calls in flight, records them, and lets the loop end."""
        self._stopping.set()
        if self._loop is not None and self._pump is not None and self._thread is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._pump.stop)
            self._thread.join(self._grace)

    def _run(self, settings: Settings) -> None:
        try:
            uvloop.run(self._main(settings))
        except Exception:
            log.exception("the runtime broke")
        if not self._stopping.is_set():
            # Without its loop this child would take wake-ups and deliver nothing. Celery starts another one.
            time.sleep(_PAUSE_BEFORE_ANOTHER)
            os._exit(1)

    async def _main(self, settings: Settings) -> None:
        async with open_deliverer(settings, kind="worker") as deliverer:
            self._loop = asyncio.get_running_loop()
            self._pump = deliverer.pump
            # What is loaded by now stays. By default a collection begins every few deliveries and walks through all of
            # it: a fifth of this process' time.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 20)
            log.info("worker ready", worker=deliverer.name)
            deliverer.pump.wake()  # what became due while nobody was there
            if self._stopping.is_set():
                deliverer.pump.stop()
            chores = [
                asyncio.create_task(watchdog.watch(settings.watchdog)),
                asyncio.create_task(self._beat(deliverer, settings)),
            ]
            await deliverer.pump.run()
            for chore in chores:
                chore.cancel()
            await asyncio.wait(chores)  # one may be in the middle of a statement

    async def _beat(self, deliverer: Deliverer, settings: Settings) -> None:
        """Says every second that this child lives, takes back what dead ones held, and looks for work.

        It looks because Celery gives a message to the first child that is free, and with a task that only wakes a
        pump that is always the same one: the others would never hear that there is more than it can take.
        """
        while True:
            consumed, self._consumed = self._consumed, False
            try:
                await deliverer.heartbeat.beat(consumed=consumed)
                await recover(deliverer.engine, settings.retry_policy, name=deliverer.name)
                if await deliverer.upkeep.served():  # else the scheduler delivers
                    deliverer.pump.wake()
            except DATABASE_TROUBLE as error:
                self._consumed = self._consumed or consumed
                log.warning("no heartbeat", error=type(error).__name__)
            await asyncio.sleep(_BEAT_SECONDS)


runtime = Runtime()
