"""A lean load generator: so many connections, each sends its next request when the last one is answered.

Its own process, so that its work is not the server's.
``python -m tests.benchmarks.load URL[,URL] KEY CLIENTS SECONDS SEED`` prints one JSON line: requests, seconds, the
median and the 99th percentile of the latency in milliseconds, and the number of answers by status.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from typing import cast
from urllib.parse import urlsplit

import uvloop

_BODY = (
    '{"account":"bench","ucid":"%016d","did":"918012345678","agent_id":"a17","disposition":"Sale",'
    '"comments":"Customer will pay by card on Friday","reference":"deal-%d"}'
)


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._started = 0.0
        self._received = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._started = time.perf_counter()
        self._transport.write(self._load.next_request())

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self._received = b""
        now = time.perf_counter()
        self._load.latencies.append(now - self._started)
        self._load.statuses[head[9:12].decode()] += 1
        if now < self._load.until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


class Load:
    """All connections together."""

    def __init__(self, url: str, key: str, seed: int) -> None:
        self._targets = [urlsplit(one) for one in url.split(",")]
        self._number = seed
        self._head = (
            f"POST {self._targets[0].path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self.latencies: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.until = 0.0

    def next_request(self) -> bytes:
        """A disposition of a call that was not there before."""
        self._number += 1
        body = (_BODY % (self._number, self._number)).encode()
        return b"%s%d\r\n\r\n%s" % (self._head, len(body), body)

    async def run(self, clients: int, seconds: float) -> dict[str, object]:
        """Sends for ``seconds`` and gives the figures."""
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        self.until = started + seconds
        opened = [
            await loop.create_connection(lambda: Client(self), target.hostname, target.port)
            for target in itertools.islice(itertools.cycle(self._targets), clients)
        ]
        await asyncio.gather(*(client.done for _, client in opened))
        took = time.perf_counter() - started
        ordered = sorted(self.latencies)
        return {
            "requests": len(ordered),
            "seconds": took,
            "rate": len(ordered) / took,
            "p50_ms": ordered[len(ordered) // 2] * 1000,
            "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
            "statuses": dict(self.statuses),
        }


def main() -> None:
    """Runs with the arguments of the command line."""
    url, key, clients, seconds, seed = sys.argv[1:]
    load = Load(url, key, int(seed))
    print(json.dumps(uvloop.run(load.run(int(clients), float(seconds)))), flush=True)


if __name__ == "__main__":
    main()
