"""What one call to CloudAgent costs: calls a second and CPU of the client, at rising numbers in flight.

The server is a process of its own that answers after 5 ms. Run it as a script.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from datetime import datetime
from multiprocessing.connection import Connection as Pipe
from typing import cast

import uvloop

from app.cloudagent.addresses import AddressPolicy
from app.cloudagent.client import CloudAgentClient
from app.cloudagent.credentials import Credentials
from app.cloudagent.request import DispositionCall, Endpoint
from app.cloudagent.transport import CloudAgentTransport
from app.domain.replies import Answer
from app.secrets import Secret

LATENCY_SECONDS = 0.005
BODY = b'{"status":" Success","details":"Disposition saved successfully"}'
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
CALL = DispositionCall(
    customer="acme",
    ucid="1234567890123456",
    did="918012345678",
    agent_id="a17",
    disposition="Call back",
    comments="asked for a call in the evening",
    callback_time=datetime.fromisoformat("2026-12-01T18:00"),
    callback_time_zone="Asia/Kolkata",
    request_id="0193f0d0-0000-7000-8000-000000000000",
)


class SlowServer(asyncio.Protocol):
    """Answers each request after the latency, without reading it closely."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(LATENCY_SECONDS, self.transport.write, REPLY)


def serve(port: Pipe) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(SlowServer, "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


async def measure(port: int, in_flight: int, seconds: float = 3.0) -> None:
    client = CloudAgentClient(CloudAgentTransport(AddressPolicy(allow_loopback=True), max_idle=in_flight))
    endpoint = Endpoint(f"http://127.0.0.1:{port}", "v3-query")
    credentials = Credentials(Secret("K" * 34))
    done = 0

    async def caller(until: float) -> None:
        nonlocal done
        while time.monotonic() < until:
            answer = await client.dispose(endpoint, credentials, CALL, deadline=10)
            assert isinstance(answer, Answer), answer
            done += 1

    async def round_of(length: float) -> None:
        until = time.monotonic() + length
        await asyncio.gather(*(caller(until) for _ in range(in_flight)))

    await round_of(0.5)  # connections are made, caches are filled
    done = 0
    wall, cpu = time.perf_counter(), time.process_time()
    await round_of(seconds)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{in_flight:4d} in flight: {done / wall:7,.0f} calls/s, {cpu / done * 1e6:4.0f} µs CPU per call")
    await client.aclose()


def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    for name, run in (("uvloop", uvloop.run), ("asyncio", asyncio.run)):
        print(name)
        for in_flight in (10, 100, 500):
            run(measure(port, in_flight))
    server.terminate()


if __name__ == "__main__":
    main()
