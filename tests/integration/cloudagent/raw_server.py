"""A server in the place of CloudAgent that says byte for byte what a test wants said."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

from app.cloudagent.request import DispositionCall, Endpoint

BODY = b'{"status":" Success","details":"Disposition saved successfully"}'

CALL = DispositionCall(
    customer="acme",
    ucid="1234567890123456",
    did="918012345678",
    agent_id="a17",
    disposition="Call back",
    request_id="0193f0d0-0000-7000-8000-000000000001",
)


def reply(body: bytes = BODY, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A whole reply; ``length`` is what it claims to be long."""
    size = len(body) if length is None else length
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers])
    return head.encode() + b"\r\n\r\n" + body


class Visit:
    """One connection as the server sees it."""

    def __init__(self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The head of the next request; raises ``IncompleteReadError`` when the caller has hung up."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self._server.requests.append(head)
        return head

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the caller has closed the connection."""
        with contextlib.suppress(ConnectionError):
            await self.reader.read()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Visit], Awaitable[None]]


class RawServer:
    """Counts connections, keeps the heads of all requests."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._visits: set[asyncio.Task[None]] = set()
        self.port = 0
        self.scheme = "http"
        self.connections = 0
        self.hung_up = 0
        self.requests: list[bytes] = []

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f"{self.scheme}://127.0.0.1:{self.port}", "v3-query")

    @property
    def targets(self) -> list[str]:
        return [head.split(b" ")[1].decode() for head in self.requests]

    async def visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        self.connections += 1
        try:
            await self._script(Visit(self, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up += 1
        except asyncio.CancelledError:
            pass  # the test is over; streams would log a task that was cancelled
        finally:
            self._visits.discard(task)
            writer.close()

    async def stop(self) -> None:
        for task in list(self._visits):
            task.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """A server on a free port of 127.0.0.1 that treats each connection as ``script`` says."""
    raw = RawServer(script)
    server = await asyncio.start_server(raw.visited, "127.0.0.1", 0, ssl=tls, backlog=1024)
    raw.port = server.sockets[0].getsockname()[1]
    raw.scheme = "https" if tls else "http"
    try:
        yield raw
    finally:
        server.close()
        await raw.stop()


def always(data: bytes) -> Script:
    """Answers every request of a connection with the same bytes."""

    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            await visit.send(data)

    return script


def once(data: bytes) -> Script:
    """Answers one request, then closes."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(data)

    return script
