"""A proxy between Wrapup and the stand-in for CloudAgent. A call has edges as a statement has (``postgres_proxy``)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import suppress

from tests.faults.postgres_proxy import AtEdge, Edge, peer_of

CONNECT, SEND, REPLY = "the connection to CloudAgent", "the request", "half of the reply"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class UpstreamProxy:
    """Listens on loopback, and passes everything on to ``port``. ``callers``: the processes that may call."""

    def __init__(self, port: int, at_edge: AtEdge, callers: Callable[[], Iterator[int]]) -> None:
        self._upstream = port
        self._at_edge = at_edge
        self._callers = callers
        self._listening: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._listening is not None
        return f"http://127.0.0.1:{self._listening.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._listening is not None
        self._listening.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port: int = writer.get_extra_info("peername")[1]
        upstream: asyncio.StreamWriter | None = None
        try:
            if not await self._goes_on(CONNECT, port, done=True):
                return
            answers, upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
            both = [
                asyncio.create_task(self._requests(reader, upstream, port)),
                asyncio.create_task(self._replies(answers, writer, port)),
            ]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
            await asyncio.wait(both)
            if not both[1].cancelled() and both[1].exception() is None:
                writer.close()  # the reply is whole, or was cut by the stand-in: it goes out as far as it came
                return
        except (OSError, asyncio.CancelledError):  # cancelled: all is over
            pass
        finally:
            if not writer.is_closing():
                writer.transport.abort()
            if upstream is not None:
                upstream.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, port: int) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if not await self._goes_on(SEND, port, done=False):
                    return
                upstream.write(head + body)

    async def _replies(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        while chunk := await answers.read(65536):
            if not await self._goes_on(SEND, port, done=True):
                raise ConnectionAbortedError
            middle = len(chunk) // 2
            writer.write(chunk[:middle])
            if not await self._goes_on(REPLY, port, done=True):
                raise ConnectionAbortedError
            writer.write(chunk[middle:])
            await writer.drain()

    async def _goes_on(self, what: str, port: int, *, done: bool) -> bool:
        return await self._at_edge(Edge("worker", what, done), -port)

    def process_at(self, port: int) -> int | None:
        """The process that calls from this port."""
        return peer_of(port, self._callers())
