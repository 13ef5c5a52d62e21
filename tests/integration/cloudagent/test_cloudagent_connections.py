"""Connections are kept alive, and never used once that could send a request into a closing one."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time

import httpx
import pytest
from raw_server import BODY, CALL, Visit, always, once, reply, serving

from app.cloudagent.addresses import AddressPolicy
from app.cloudagent.client import CloudAgentClient
from app.cloudagent.credentials import Credentials
from app.cloudagent.failures import NotSent
from app.cloudagent.request import Endpoint
from app.cloudagent.transport import CloudAgentTransport
from app.domain.replies import Answer, Certainty, NoAnswer


async def test_a_connection_is_used_again(client: CloudAgentClient, credentials: Credentials) -> None:
    async with serving(always(reply())) as server:
        for _ in range(5):
            assert isinstance(await client.dispose(server.endpoint, credentials, CALL, deadline=5), Answer)
        assert (server.connections, len(server.requests)) == (1, 5)


async def test_a_tls_connection_is_used_again(
    trusting_client: CloudAgentClient, credentials: Credentials, server_tls: ssl.SSLContext
) -> None:
    async with serving(always(reply()), server_tls) as server:
        for _ in range(5):
            answer = await trusting_client.dispose(server.endpoint, credentials, CALL, deadline=5)
            assert isinstance(answer, Answer)
        assert (server.connections, len(server.requests)) == (1, 5)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(reply(BODY, "Connection: close"), id="the server says close"),
        pytest.param(reply(BODY, "Keep-Alive: timeout=1, max=100"), id="kept for a second"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="HTTP/1.0"),
        pytest.param(reply() + b"surplus", id="more bytes than the reply"),
        pytest.param(reply() + reply(), id="two replies"),
    ],
)
async def test_a_connection_is_not_used_again_when(
    client: CloudAgentClient, credentials: Credentials, said: bytes
) -> None:
    async with serving(always(said)) as server:
        for _ in range(3):
            assert isinstance(await client.dispose(server.endpoint, credentials, CALL, deadline=5), Answer)
        assert (server.connections, len(server.requests)) == (3, 3)


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_a_connection_that_the_server_closed_while_idle_is_noticed_before_the_event_loop_is(
    client: CloudAgentClient, credentials: Credentials, last_words: bytes
) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        endpoint = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", "v3-query")
        for _ in range(3):
            call = asyncio.create_task(client.dispose(endpoint, credentials, CALL, deadline=5))
            server_side, _ = await loop.sock_accept(listener)
            with server_side:
                await loop.sock_recv(server_side, 4096)
                await loop.sock_sendall(server_side, reply())
                assert isinstance(await call, Answer)
                # No await from here to the next call: the event loop can't have seen this.
                if last_words:
                    server_side.send(last_words)


async def test_bytes_that_nobody_asked_for_close_the_connection(
    client: CloudAgentClient, credentials: Credentials
) -> None:
    answered, gone = asyncio.Event(), asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(reply())
        await answered.wait()
        await visit.send(reply(b"for nobody"))
        await visit.gone()
        gone.set()

    async with serving(script) as server:
        await client.dispose(server.endpoint, credentials, CALL, deadline=5)
        answered.set()
        await asyncio.wait_for(gone.wait(), 5)


async def test_a_call_that_meets_the_closing_is_unknown_and_not_repeated(
    client: CloudAgentClient, credentials: Credentials
) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(reply())
        await visit.request()

    async with serving(script) as server:
        assert isinstance(await client.dispose(server.endpoint, credentials, CALL, deadline=5), Answer)
        result = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
        assert isinstance(result, NoAnswer)
        assert result.certainty is Certainty.SENT_UNKNOWN
        assert (server.connections, len(server.requests)) == (1, 2)


async def test_a_late_reply_to_a_call_given_up_answers_no_other(
    client: CloudAgentClient, credentials: Credentials
) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        if server.connections == 1:
            await visit.gone()
        await visit.send(reply())

    async with serving(script) as server:
        first = await client.dispose(server.endpoint, credentials, CALL, deadline=0.2)
        second = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
        assert isinstance(first, NoAnswer)
        assert isinstance(second, Answer)
        assert server.connections == 2


async def test_idle_connections_are_closed_after_a_while(credentials: Credentials) -> None:
    gone = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(reply())
        await visit.gone()
        gone.set()

    client = CloudAgentClient(CloudAgentTransport(AddressPolicy(allow_loopback=True), idle_seconds=0.1))
    async with serving(script) as server:
        await client.dispose(server.endpoint, credentials, CALL, deadline=5)
        await asyncio.wait_for(gone.wait(), 5)
    await client.aclose()


async def test_a_connection_idle_for_too_long_is_not_used(credentials: Credentials) -> None:
    client = CloudAgentClient(CloudAgentTransport(AddressPolicy(allow_loopback=True), idle_seconds=0.05))
    async with serving(always(reply())) as server:
        await client.dispose(server.endpoint, credentials, CALL, deadline=5)
        time.sleep(0.06)  # noqa: ASYNC251  # the event loop stands still: its timer can't have closed it
        await client.dispose(server.endpoint, credentials, CALL, deadline=5)
        assert server.connections == 2
    await client.aclose()


async def test_no_more_connections_are_kept_than_the_cap(credentials: Credentials) -> None:
    client = CloudAgentClient(CloudAgentTransport(AddressPolicy(allow_loopback=True), max_idle=2))
    together = asyncio.Barrier(5)

    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            await together.wait()
            await visit.send(reply())

    async with serving(script) as server:
        for _ in range(2):
            calls = (client.dispose(server.endpoint, credentials, CALL, deadline=5) for _ in range(5))
            assert all(isinstance(answer, Answer) for answer in await asyncio.gather(*calls))
        assert server.connections == 5 + 3
    await client.aclose()


@pytest.mark.parametrize("target", [b"/x HTTP/1.1\r\nX-Injected: 1", b"/a b", b"//\0", b"x", b""])
async def test_a_target_that_would_break_the_line_is_not_sent(target: bytes) -> None:
    transport = CloudAgentTransport(AddressPolicy(allow_loopback=True))
    async with serving(once(reply())) as server:
        request = httpx.Request("GET", f"{server.endpoint.base_url}/x", extensions={"target": target})
        with pytest.raises(NotSent, match="target"):
            await transport.handle_async_request(request)
        await transport.aclose()
        assert server.requests == []


async def test_nothing_is_sent_once_the_time_to_send_has_passed() -> None:
    """The event loop may stall between deadline and timer, so the clock is asked again before the write."""
    transport = CloudAgentTransport(AddressPolicy(allow_loopback=True))
    async with serving(once(reply())) as server:
        late = httpx.Request("GET", f"{server.endpoint.base_url}/x", extensions={"wrapup.send_by": time.monotonic()})
        with pytest.raises(NotSent, match="deadline passed"):
            await transport.handle_async_request(late)
        await transport.aclose()
        assert server.requests == []
