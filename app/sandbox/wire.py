"""HTTP/1.1 over an asyncio connection, close enough to the bytes to break them on purpose.

One request of a connection is handled at a time; those that were pipelined behind it wait their turn, so that
answers leave in order. The handler ends each request by exactly one of `Connection.finish`, `reset` or
`close`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import cast

import httptools

from app.sandbox.pages import json_page

MAX_BODY_BYTES = 1024 * 1024
_MAX_PIPELINED = 64
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request as read from the wire; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, handle: Callable[[Connection, HttpRequest], None], open_: set[Connection]) -> None:
        self.on_end: Callable[[], None] | None = None  # called when the request under way is over, however it ends
        self._handle = handle
        self._open = open_
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._queue: deque[HttpRequest] = deque()
        self._under_way: HttpRequest | None = None
        self._pumping = False
        self._paused = False
        self._broken = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._task: asyncio.Task[None] | None = None

    # What the handler may do.

    @property
    def lost(self) -> bool:
        """Whether the client, or we, have left."""
        return self._transport.is_closing()

    def write(self, content: bytes) -> None:
        """Sends bytes; to a client that has left, nothing happens."""
        if not self._transport.is_closing():
            self._transport.write(content)

    async def drained(self) -> None:
        """Waits until the client has taken most of what was written."""
        await self._writable.wait()

    def finish(self) -> None:
        """Ends the request under way, and takes up the next one."""
        keep_alive = self._under_way is not None and self._under_way.keep_alive
        self._end_request()
        if not keep_alive:
            self._queue.clear()
            self._transport.close()
        elif not self._pumping:
            self._pump()

    def close(self) -> None:
        """Closes the connection once what was written is sent."""
        self._transport.close()

    def reset(self) -> None:
        """Ends the connection with a TCP reset; what was not sent yet is lost."""
        raw = self._transport.get_extra_info("socket")
        if raw is not None and not self._transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def run(self, work: Coroutine[None, None, None]) -> None:
        """Runs slow work of the request under way; it is cancelled when the connection ends."""
        self._task = asyncio.get_running_loop().create_task(work)

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        self._queue.clear()
        self._writable.set()
        if self._task is not None:
            self._task.cancel()
        self._end_request()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._broken = True  # what came whole before it is answered first
        if len(self._queue) > _MAX_PIPELINED and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        if not self._pumping:
            self._pump()

    def _pump(self) -> None:
        self._pumping = True
        while self._under_way is None and self._queue:
            self._under_way = self._queue.popleft()
            self._handle(self, self._under_way)
        self._pumping = False
        if self._broken and self._under_way is None:
            self._refuse(400, "that is not HTTP")
        if self._paused and not self._queue and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _end_request(self) -> None:
        self._under_way = None
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()

    def _refuse(self, status: int, problem: str) -> None:
        self.write(json_page({"error": problem}, status).to_bytes(keep_alive=False))
        self._transport.close()

    # httptools' side.

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        if len(self._body) + len(body) > MAX_BODY_BYTES:
            self._refuse(413, f"the body is over {MAX_BODY_BYTES} bytes")
        else:
            self._body += body

    def on_message_complete(self) -> None:
        if self._transport.is_closing():
            return
        path, _, query = self._target.decode("latin-1").partition("?")
        self._queue.append(
            HttpRequest(
                method=self._parser.get_method().decode("ascii"),
                path=path,
                query=query,
                headers=self._headers,
                body=self._body,
                keep_alive=self._parser.should_keep_alive(),
            )
        )
