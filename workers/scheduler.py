"""The scheduler: a small process that needs no broker. Any number of them may run.

Every second it does the chores and rings for a worker if anything is due. If nobody comes, because the broker is gone
or all workers are, it delivers by itself.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys
from collections.abc import Awaitable, Callable

import structlog
import uvloop

from app.domain.errors import ConfigurationError
from app.logging import configure_logging
from app.services.upkeep import Due
from app.settings import Settings, load_settings
from app.storage.engine import DATABASE_TROUBLE
from app.wiring import Deliverer, open_deliverer
from workers import watchdog

log = structlog.get_logger(__name__)

_TICK_SECONDS = 1.0
_RING_EVERY = 5  # ticks, also when nothing is due: that workers take wake-ups shows that the way is open
_REPORT_EVERY = 10  # ticks, while it delivers in the workers' place
_PRUNE_EVERY = 600  # ticks
_REPLAY_SECONDS = 0.25  # between looks for a chunk of a replay to be done


async def run(settings: Settings) -> None:
    """Does its work until SIGTERM or SIGINT; then ends the calls that it has in flight itself."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        watching = asyncio.create_task(watchdog.watch(settings.watchdog))
        pumping = asyncio.create_task(deliverer.pump.run())
        chores = [
            asyncio.create_task(chore)
            for chore in (
                _tick(deliverer),
                # Beside the ticks, so that what must not wait does not wait for what may take long.
                _repeat(deliverer.schedule_runs.tick, _TICK_SECONDS),
                _repeat(deliverer.replay_steps.step, _REPLAY_SECONDS),
            )
        ]
        told = asyncio.create_task(stopping.wait())
        log.info("scheduler ready", scheduler=deliverer.name)
        await asyncio.wait([told, pumping, *chores], return_when=asyncio.FIRST_COMPLETED)
        for chore in chores:
            chore.cancel()  # the database takes back what it was at
        deliverer.pump.stop()
        await asyncio.wait([pumping, *chores], timeout=settings.longest_call)
        for task in (pumping, *chores):
            if task.done() and not task.cancelled():
                task.result()  # raises what broke it: this process ends with that, and is started again
        watching.cancel()


async def _tick(deliverer: Deliverer) -> None:
    standing_in = False
    more_to_prune = False
    for ticks in itertools.count():
        try:
            rate = await deliverer.heartbeat.beat()
            due = await deliverer.upkeep.tick()
            if due.work or ticks % _RING_EVERY == 0:
                deliverer.bell.ring()
            was, standing_in = standing_in, _stands_in(due, rings=deliverer.bell.reached, already=standing_in)
            if standing_in:
                deliverer.pump.wake()
            if standing_in != was:
                log.warning("no worker comes: delivering here" if standing_in else "workers are back")
            elif standing_in and ticks % _REPORT_EVERY == 0:
                log.warning("delivering here", attempts_per_second=round(rate, 1))
            if more_to_prune or ticks % _PRUNE_EVERY == 0:
                more_to_prune = await deliverer.upkeep.prune()  # a piece at a time: the rest of the tick can't wait
        except DATABASE_TROUBLE as error:
            log.warning("database trouble", error=type(error).__name__)
        await asyncio.sleep(_TICK_SECONDS)


def _stands_in(due: Due, *, rings: bool, already: bool) -> bool:
    """Whether to deliver here: the broker can't be reached, or it can, and no worker comes nevertheless.

    That goes on until a worker comes again: else each disposition in turn would have to become overdue first.
    """
    return not rings or (not due.served and (due.overdue or already))


async def _repeat(step: Callable[[], Awaitable[bool | None]], seconds: float) -> None:
    """Does a step every so many seconds, and at once again after one that found something to do."""
    while True:
        did_something = None
        try:
            did_something = await step()
        except DATABASE_TROUBLE as error:
            log.warning("database trouble", error=type(error).__name__)
        await asyncio.sleep(0 if did_something else seconds)


def main() -> None:
    """``python -m workers.scheduler``, which ``wrapup scheduler`` starts."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    try:
        watchdog.arm()
        uvloop.run(run(settings))
    except ConfigurationError as error:
        sys.exit(f"wrapup: {error}")


if __name__ == "__main__":
    main()
