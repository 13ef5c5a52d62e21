"""HTTP on one connection: uvicorn's protocol, with a bound on a request's head and one packet for a short answer."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.web.bodies import WHOLE

_MAX_HEAD_BYTES = 64 * 1024

STOPPING = "wrapup.stopping"
"""In the ASGI scope: an event that is set when the process is told to stop. What does not end by itself ends then."""


class Protocol(HttpToolsProtocol):
    """What ``wrapup api`` speaks."""

    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A connection begins."""
        self._stopping = asyncio.Event()
        super().connection_made(cast(asyncio.Transport, _Gathering(transport)))

    def shutdown(self) -> None:
        """The process is to stop: a request that is under way ends first."""
        self._stopping.set()
        super().shutdown()

    # uvicorn itself takes, and keeps, as many headers as are sent.

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[STOPPING] = self._stopping
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Its head has come."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Its body has come: with its head, mostly, and before its function runs."""
        super().on_message_complete()
        cast(dict[str, Any], self.scope)[WHOLE] = True

    def data_received(self, data: bytes) -> None:
        """Some of it has come."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(f"The head of the request has more than {_MAX_HEAD_BYTES} bytes.")


class _Gathering:
    """A transport that sends together what is written in one turn of the loop.

    uvicorn writes the head and the body of an answer one after the other, and the loop sends each at once: two system
    calls here, two packets, and two wake-ups of who waits for the answer.
    """

    __slots__ = ("_loop", "_parts", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._parts:
            self._transport.write(b"".join(self._parts))
            self._parts.clear()
