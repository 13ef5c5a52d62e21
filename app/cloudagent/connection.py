"""One connection to a server: one exchange after the other, and the knowledge when not to start another."""

from __future__ import annotations

import asyncio
import re
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from app.cloudagent.failures import CallFailed, NotSent, SentUnknown
from app.cloudagent.wire import NotHttp, Reply, ReplyReader

_KEEP_ALIVE_TIMEOUT = re.compile(rb"timeout\s*=\s*(\d{1,6})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a connection leads to. Reads as ``host:port``."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connection(asyncio.Protocol):
    """A connection to ``origin``, in the hands of one call at a time."""

    _transport: asyncio.Transport
    _poll: select.poll

    def __init__(self, origin: Origin, max_body_bytes: int, on_lost: Callable[[Connection], None]) -> None:
        self.origin = origin
        self._usable_until = 0.0
        self.lost = asyncio.get_running_loop().create_future()
        self._on_lost = on_lost
        self._reader = ReplyReader(max_body_bytes)
        self._waiter: asyncio.Future[None] | None = None
        self._failure: CallFailed | None = None

    async def exchange(self, request: memoryview) -> Reply:
        """Send the request, once, and wait for the whole reply; raises ``NotSent`` or ``SentUnknown``.

        The caller closes the connection if this is cancelled or raises.
        """
        if self._transport.is_closing():
            raise NotSent(f"{self.origin} closed the connection before the request was sent")
        self._waiter = asyncio.get_running_loop().create_future()
        self._reader.expect()
        self._transport.write(request)
        # asyncio offers the bytes to the socket within ``write``; if that failed, it took none of them.
        if self._transport.is_closing():
            raise NotSent(f"{self.origin} closed the connection before the request was sent")
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._failure is not None:
            raise self._failure
        return self._reader.reply()

    def may_idle(self, reply: Reply, idle_seconds: float) -> bool:
        """True if the connection may carry another exchange, at most ``idle_seconds`` from now.

        A server that says how long it keeps idle connections (Apache: 5 seconds) is left a second earlier: a
        request that meets the closing half-way has an unknown outcome.
        """
        if not self._reader.reusable or self._transport.is_closing():
            return False
        hint = next((value for name, value in reply.headers if name.lower() == b"keep-alive"), b"")
        said = _KEEP_ALIVE_TIMEOUT.search(hint)
        seconds = min(idle_seconds, int(said[1]) - 1) if said else idle_seconds
        self._usable_until = time.monotonic() + seconds
        return seconds > 0

    def usable(self) -> bool:
        """True if an idle connection can be used now.

        Asks the socket: the end of the stream, or bytes that nobody asked for, may have arrived without the
        event loop having come round to them.
        """
        fresh = time.monotonic() < self._usable_until
        return fresh and not self._transport.is_closing() and not self._poll.poll(0)

    def abort(self) -> None:
        """Close at once, without waiting for the other side."""
        self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.abort()  # nobody asked for these bytes: the next reply would be taken for somebody else's
            return
        try:
            self._reader.feed(data)
        except NotHttp as error:
            self._end(SentUnknown(f"{self.origin} answered with something that is not HTTP: {error}"))
        else:
            if self._reader.ended:
                self._end()

    def eof_received(self) -> None:
        if self._reader.end_of_stream():
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._reader.end_of_stream():
            self._end()
        else:
            where = "within its reply" if self._reader.wire_bytes else "without a reply"
            self._end(SentUnknown(f"{self.origin} {self._how(exc)} the connection {where}"))
        self.lost.set_result(None)
        self._on_lost(self)

    @staticmethod
    def _how(exc: Exception | None) -> str:
        return "reset" if isinstance(exc, ConnectionResetError) else "closed" if exc is None else "broke"

    def _end(self, failure: CallFailed | None = None) -> None:
        """Wake the call that waits, if it still does.

        The failure is kept aside and not set on the future: asyncio would log one that nobody comes back for.
        """
        if self._waiter is not None and not self._waiter.done():
            self._failure = failure
            self._waiter.set_result(None)
