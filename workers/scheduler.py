"""The scheduler: a small process that needs no broker. Any number of them may run.

Every second it does the chores and rings for a worker if anything is due. If nobody comes, because the broker is gone
or all workers are, it delivers by itself.
"""

from __future__ import annotations

import asyncio
import signal

import structlog
import uuid_utils.compat as uuids
import uvloop

from app.logging import configure_logging
from app.settings import Settings, load_settings
from app.storage import processes
from app.storage.engine import DATABASE_TROUBLE
from app.wiring import Deliverer, open_deliverer
from workers import watchdog

log = structlog.get_logger(__name__)

_TICK_SECONDS = 1.0
_RING_EVERY = 5  # ticks, also when nothing is due: that workers take wake-ups shows that the way is open
_PRUNE_EVERY = 600  # ticks


async def run(settings: Settings) -> None:
    """Does its work until SIGTERM or SIGINT; then ends the calls that it has in flight itself."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with open_deliverer(settings, kind="scheduler") as deliverer:
        watching = asyncio.create_task(watchdog.watch(settings.watchdog))
        pumping = asyncio.create_task(deliverer.pump.run())
        log.info("scheduler ready", scheduler=deliverer.name)
        await _tick_until(stopping, deliverer)
        deliverer.pump.stop()
        await pumping
        watching.cancel()


async def _tick_until(stopping: asyncio.Event, deliverer: Deliverer) -> None:
    process_id = uuids.uuid7()
    ticks = 0
    standing_in = False
    while not stopping.is_set():
        try:
            async with deliverer.engine.begin() as connection:
                await processes.beat(connection, process_id, kind="scheduler", name=deliverer.name, consumed=False)
            due = await deliverer.upkeep.tick()
            if due.work or ticks % _RING_EVERY == 0:
                deliverer.bell.ring()
            if due.neglected:
                deliverer.pump.wake()
            if due.neglected != standing_in:
                standing_in = due.neglected
                log.warning("no worker comes: delivering here" if standing_in else "workers are back")
            if ticks % _PRUNE_EVERY == 0:
                await deliverer.upkeep.prune()
        except DATABASE_TROUBLE as error:
            log.warning("database trouble", error=type(error).__name__)
        ticks += 1
        try:
            await asyncio.wait_for(stopping.wait(), _TICK_SECONDS)
        except TimeoutError:
            continue


def main() -> None:
    """``python -m workers.scheduler``, which ``wrapup scheduler`` starts."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    watchdog.arm()
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
