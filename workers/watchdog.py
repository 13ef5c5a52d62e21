"""The watchdog: a process that stood still dies before it can send.

A lease alone can't keep the order of a call's dispositions. A process that was stopped, swapped out, or on a machine
that froze wakes up after its lease and goes on where it was, perhaps just before it sends. So the event loop keeps
pushing a kernel timer ahead of itself. If it does not come to push it in time, the timer ends the process: SIGALRM
with its default action needs no cooperation, and it is delivered before the process runs on.

``lease > call deadline + watchdog + margin`` (``app/settings.py``): who still runs when its lease is out has
stood still for longer than the watchdog allows.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from datetime import timedelta

from app.domain.errors import ConfigurationError

_PR_SET_PDEATHSIG = 1


def arm() -> None:
    """Gives SIGALRM back its default action. From the main thread, before ``watch``.

    Raises ``ConfigurationError`` in the first process of a container: to that the kernel delivers no signal whose
    action is the default, so nothing would end it.
    """
    if os.getpid() == 1:
        raise ConfigurationError(
            "This process is the first one of its container, and its watchdog can't end that. Start the container "
            "with an init process: `init: true` in compose, `docker run --init`."
        )
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


async def watch(limit: timedelta) -> None:
    """Keeps the process alive as long as this loop turns; cancel it to take the watchdog off."""
    seconds = limit.total_seconds()
    try:
        while True:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            await asyncio.sleep(seconds / 5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent dies, however that dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
