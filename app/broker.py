"""The broker: rings for a worker. What it carries is a wake-up and no truth; if it is lost, only time is lost.

Publishing can block for many seconds when the broker is frozen, so it happens in a thread of its own. Whoever rings
only raises a flag: a hundred rings while one message is being published are one message. And if a wake-up already
lies in the queue none is added, because the worker that takes it looks into the database after our commit.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import Any

import structlog
from celery import Celery
from kombu.connection import Connection

TASK = "wrapup.deliver"
QUEUE = "wrapup"

# A wake-up that lay this long is of no use: the scheduler rings every second while anything is due.
_EXPIRES_SECONDS = 30
_CLOSING_SECONDS = 1.0

# Between two messages, in which rings gather. The first one goes out at once; under load a message every so often is
# enough, and each costs as much of this process as several requests.
_PAUSE_SECONDS = 0.02
# The same while the last message still lies there: nobody is waiting for another one.
_PAUSE_UNTAKEN_SECONDS = 0.1

# Bounded in time, and no repeats: without these a refused broker blocks for seconds and a frozen one for ever.
TRANSPORT_OPTIONS: dict[str, Any] = {
    "socket_timeout": 0.5,
    "socket_connect_timeout": 0.5,
    "max_retries": 0,
    "retry_on_timeout": False,
}

log = structlog.get_logger(__name__)


class Bell:
    """Rings for a worker. ``ring`` never blocks and never fails. Any thread may use it."""

    def __init__(self, broker_url: str) -> None:
        self._url = broker_url
        self._app = Celery("wrapup-bell", broker=broker_url, set_as_current=False)
        self._app.conf.update(task_ignore_result=True, task_default_queue=QUEUE)
        self._wanted = threading.Event()
        self._closing = False
        self._reached = True
        self._thread: threading.Thread | None = None

    def ring(self) -> None:
        """Asks for a wake-up to be published soon."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._publish_when_wanted, name="bell", daemon=True)
            self._thread.start()
        self._wanted.set()

    @property
    def reached(self) -> bool:
        """Whether the broker took the last wake-up that was rung for."""
        return self._reached

    async def aclose(self) -> None:
        """Publishes what was rung for last, if the broker takes it within a moment, and lets the thread end."""
        if self._thread is not None:
            self._closing = True
            self._wanted.set()
            await asyncio.to_thread(self._thread.join, _CLOSING_SECONDS)

    def _publish_when_wanted(self) -> None:
        connection: Connection | None = None
        while True:
            self._wanted.wait()
            self._wanted.clear()
            closing = self._closing  # read before publishing: what was rung for before it still goes out
            pause = _PAUSE_SECONDS
            try:
                if connection is None:
                    # Not through the app: it would let Celery's own environment variables name another broker.
                    connection = Connection(self._url, connect_timeout=0.5, transport_options=TRANSPORT_OPTIONS)
                if not self._publish(connection):
                    pause = _PAUSE_UNTAKEN_SECONDS
                self._note(reached=True)
            except Exception as error:
                # Whatever the transport raises: a lost wake-up costs time only, and this thread must live on.
                self._note(reached=False, error=error)
                if connection is not None:
                    with suppress(Exception):
                        connection.close()
                connection = None
            if closing:
                return
            time.sleep(pause)

    def _publish(self, connection: Connection) -> bool:
        """Puts a wake-up into the queue, unless one lies there; True if it did."""
        waiting = connection.default_channel.queue_declare(QUEUE, durable=True, auto_delete=False).message_count
        if waiting == 0:
            self._app.send_task(TASK, queue=QUEUE, connection=connection, retry=False, expires=_EXPIRES_SECONDS)
        return bool(waiting == 0)

    def _note(self, *, reached: bool, error: BaseException | None = None) -> None:
        """Says once that the broker is gone, and once that it is back."""
        if reached != self._reached:
            self._reached = reached
            if reached:
                log.info("broker reached again")
            else:
                log.warning("broker not reached; the scheduler delivers until it is back", error=type(error).__name__)
