"""A CloudAgent that only answers "saved", as lean as can be: what is measured is who calls it.

``python -m tests.benchmarks.upstream --port N``. Beside the vendor's paths it takes ``GET /latency/MS`` (how long it
waits before it answers, from now on), ``GET /count`` (how many calls it has had), ``GET /watch`` (from now on it keeps
when each call came) and ``GET /arrivals`` (those times by UCID, of this machine's clock).
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from typing import cast

import orjson
import uvloop

_BODY = b'{"status":" Success","details":"Disposition saved successfully"}'
_UCID = re.compile(rb"[?&]ucid=(\d+)")


def _reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


_SAVED = _reply(_BODY)


class Upstream:
    """What all connections share."""

    def __init__(self) -> None:
        self.latency = 0.0  # seconds
        self.calls = 0
        self.arrivals: dict[str, float] | None = None

    def note(self, request: bytes) -> None:
        """A call of the vendor's API has come."""
        self.calls += 1
        if self.arrivals is not None and (ucid := _UCID.search(request)):
            self.arrivals.setdefault(ucid[1].decode(), time.time())

    def steer(self, path: bytes) -> bytes:
        """Does what a path of our own asks for; gives the answer."""
        match path.split(b"/")[1:]:
            case [b"latency", milliseconds]:
                self.latency = float(milliseconds) / 1000
            case [b"watch"]:
                self.arrivals = {}
            case [b"arrivals"]:
                return orjson.dumps(self.arrivals)
        return orjson.dumps(self.calls)


class Connection(asyncio.Protocol):
    """One connection. A caller sends its next request when it has the answer to the last one."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        request, self._received = self._received, b""
        path = request[4 : request.index(b" ", 4)]
        if path.startswith(b"/CAServices/"):
            self._upstream.note(request)
            asyncio.get_running_loop().call_later(self._upstream.latency, self._transport.write, _SAVED)
        else:
            self._transport.write(_reply(self._upstream.steer(path)))


async def serve(port: int) -> None:
    """Answers until it is killed."""
    upstream = Upstream()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(upstream), "127.0.0.1", port, backlog=2048
    )
    await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    uvloop.run(serve(arguments.parse_args().port))
