"""Every way a call can end without an answer: none raises, each says for certain whether the request left."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time

import pytest
from raw_server import BODY, CALL, Script, Visit, always, once, reply, serving

from app.cloudagent.addresses import AddressPolicy, IPAddress
from app.cloudagent.client import CloudAgentClient
from app.cloudagent.credentials import Credentials
from app.cloudagent.request import DispositionCall, Endpoint
from app.cloudagent.transport import CloudAgentTransport
from app.domain.replies import Answer, Certainty, NoAnswer


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_refused_connection_was_not_sent(client: CloudAgentClient, credentials: Credentials) -> None:
    port = unused_port()
    result = await client.dispose(Endpoint(f"http://127.0.0.1:{port}", "v3-query"), credentials, CALL, deadline=5)
    assert isinstance(result, NoAnswer)
    assert result.certainty is Certainty.NOT_SENT
    assert result.reason == f"no connection to 127.0.0.1:{port}: connection refused"


async def test_a_name_that_is_unknown_was_not_sent(client: CloudAgentClient, credentials: Credentials) -> None:
    endpoint = Endpoint("https://no-such-host.invalid", "v3-query")
    result = await client.dispose(endpoint, credentials, CALL, deadline=30)
    assert isinstance(result, NoAnswer)
    assert result.certainty is Certainty.NOT_SENT
    assert result.reason.startswith("the host name of no-such-host.invalid:443 can't be resolved: ")


async def close(visit: Visit) -> None:
    await visit.request()


async def reset(visit: Visit) -> None:
    await visit.request()
    visit.reset()


async def reset_within_the_reply(visit: Visit) -> None:
    await visit.request()
    await visit.send(reply(BODY[:10], length=len(BODY)))
    visit.reset()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        pytest.param(close, "closed the connection without a reply", id="close"),
        pytest.param(reset, "reset the connection without a reply", id="reset"),
        pytest.param(
            once(reply(BODY[:10], length=len(BODY))),
            "closed the connection within its reply",
            id="short body",
        ),
        pytest.param(
            once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{"),
            "closed the connection within its reply",
            id="short chunk",
        ),
        pytest.param(once(b"HTTP/1.1 200 OK\r\nCont"), "closed the connection within its reply", id="head"),
        pytest.param(reset_within_the_reply, " the connection within its reply", id="reset in the body"),
        pytest.param(once(b"SSH-2.0-OpenSSH_9.2\r\n"), "not HTTP: ", id="garbage"),
        pytest.param(once(b"\x16\x03\x01\x02\x00\x01\x00"), "not HTTP: ", id="TLS"),
        pytest.param(once(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n"), "not HTTP: ", id="two lengths"),
        pytest.param(
            once(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"),
            "not HTTP: ",
            id="length and chunks",
        ),
        pytest.param(once(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000), "not HTTP: ", id="huge header"),
        pytest.param(once(b"HTTP/1.1 102 Wait\r\n\r\n" * 20_000), "not HTTP: ", id="interim replies only"),
        pytest.param(
            once(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
            "not HTTP",
            id="upgrade",
        ),
    ],
)
async def test_what_fails_after_sending_is_unknown(
    client: CloudAgentClient, credentials: Credentials, script: Script, reason: str
) -> None:
    async with serving(script) as server:
        result = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
        assert isinstance(result, NoAnswer)
        assert result.certainty is Certainty.SENT_UNKNOWN
        assert reason in result.reason
        assert result.reason.startswith(f"127.0.0.1:{server.port} ")
        assert len(server.requests) == 1  # no repeat


async def hang(visit: Visit) -> None:
    await visit.request()
    await visit.gone()


async def drip_headers(visit: Visit) -> None:
    await visit.request()
    await visit.send(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        await visit.send(b"x")
        await asyncio.sleep(0.02)


async def drip_body(visit: Visit) -> None:
    await visit.request()
    await visit.send(reply(b"", length=10_000))
    while True:
        await visit.send(b"x")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("script", [hang, drip_headers, drip_body])
async def test_the_deadline_is_total_and_what_it_cuts_off_is_unknown(
    client: CloudAgentClient, credentials: Credentials, script: Script
) -> None:
    closed = asyncio.Event()

    async def watched(visit: Visit) -> None:
        try:
            await script(visit)
        finally:
            closed.set()

    async with serving(watched) as server:
        started = time.monotonic()
        result = await client.dispose(server.endpoint, credentials, CALL, deadline=0.3)
        assert 0.25 < time.monotonic() - started < 2
        assert isinstance(result, NoAnswer)
        assert result.certainty is Certainty.SENT_UNKNOWN
        assert result.reason == "no full reply within 0.3 s"
        assert 250 < result.latency_ms < 2000
        await asyncio.wait_for(closed.wait(), 5)


async def test_a_call_that_begins_too_late_has_less_time(client: CloudAgentClient, credentials: Credentials) -> None:
    async with serving(always(reply())) as server:
        late = time.monotonic() - 5
        result = await client.dispose(server.endpoint, credentials, CALL, deadline=5.5, start_by=late)
        assert isinstance(result, Answer)
        result = await client.dispose(server.endpoint, credentials, CALL, deadline=5, start_by=late)
    assert isinstance(result, NoAnswer)
    assert result.certainty is Certainty.NOT_SENT


async def test_a_deadline_while_the_name_is_looked_up_was_not_sent(credentials: Credentials) -> None:
    async def never(host: str, port: int) -> list[IPAddress]:
        await asyncio.Event().wait()
        return []

    client = CloudAgentClient(CloudAgentTransport(AddressPolicy(), resolver=never))
    endpoint = Endpoint("https://cloudagent.test", "v3-query")
    result = await client.dispose(endpoint, credentials, CALL, deadline=0.2)
    assert isinstance(result, NoAnswer)
    assert (result.certainty, result.reason) == (Certainty.NOT_SENT, "no connection within 0.2 s")
    await client.aclose()


async def test_being_cancelled_closes_the_connection(client: CloudAgentClient, credentials: Credentials) -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        arrived.set()
        await visit.gone()
        gone.set()

    async with serving(script) as server:
        call = asyncio.create_task(client.dispose(server.endpoint, credentials, CALL, deadline=30))
        await arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(gone.wait(), 5)


async def test_closing_the_client_ends_the_calls_in_flight(credentials: Credentials) -> None:
    arrived = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        arrived.set()
        await visit.gone()

    client = CloudAgentClient(CloudAgentTransport(AddressPolicy(allow_loopback=True)))
    async with serving(script) as server:
        call = asyncio.create_task(client.dispose(server.endpoint, credentials, CALL, deadline=30))
        await arrived.wait()
        await client.aclose()
        result = await asyncio.wait_for(call, 5)
    assert isinstance(result, NoAnswer)
    assert result.certainty is Certainty.SENT_UNKNOWN


async def test_a_request_id_with_a_line_break_is_not_sent(client: CloudAgentClient, credentials: Credentials) -> None:
    call = DispositionCall("acme", "1", "2", "a", "Sale", request_id="1\r\nX-Injected: 1")
    async with serving(once(reply())) as server:
        result = await client.dispose(server.endpoint, credentials, call, deadline=5)
        assert isinstance(result, NoAnswer)
        assert result.certainty is Certainty.NOT_SENT
        assert server.requests == []


# TLS


async def test_a_certificate_that_is_trusted_is_enough(
    trusting_client: CloudAgentClient, credentials: Credentials, server_tls: ssl.SSLContext
) -> None:
    async with serving(once(reply()), server_tls) as server:
        for base_url in (server.endpoint.base_url, f"https://cloudagent.test:{server.port}"):
            endpoint = Endpoint(base_url, "v3-query")
            answer = await trusting_client.dispose(endpoint, credentials, CALL, deadline=5)
            assert isinstance(answer, Answer)
            assert answer.body == BODY


async def test_a_self_signed_certificate_is_refused_before_anything_is_sent(
    client: CloudAgentClient, credentials: Credentials, server_tls: ssl.SSLContext
) -> None:
    async with serving(once(reply()), server_tls) as server:
        result = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
        assert isinstance(result, NoAnswer)
        assert result.certainty is Certainty.NOT_SENT
        assert "its certificate was refused, self" in result.reason
        assert server.requests == []


async def test_a_certificate_for_another_name_is_refused(
    trusting_client: CloudAgentClient, credentials: Credentials, server_tls: ssl.SSLContext
) -> None:
    async with serving(once(reply()), server_tls) as server:
        endpoint = Endpoint(f"https://other.test:{server.port}", "v3-query")
        result = await trusting_client.dispose(endpoint, credentials, CALL, deadline=5)
        assert isinstance(result, NoAnswer)
        assert result.certainty is Certainty.NOT_SENT
        assert "certificate" in result.reason


async def plain_http(visit: Visit) -> None:
    await visit.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def reset_at_once(visit: Visit) -> None:
    visit.reset()


async def close_at_once(visit: Visit) -> None:
    visit.close()


@pytest.mark.parametrize("script", [plain_http, reset_at_once, close_at_once])
async def test_a_handshake_that_fails_was_not_sent(
    trusting_client: CloudAgentClient, credentials: Credentials, script: Script
) -> None:
    async with serving(script) as server:
        endpoint = Endpoint(f"https://127.0.0.1:{server.port}", "v3-query")
        result = await trusting_client.dispose(endpoint, credentials, CALL, deadline=5)
        assert isinstance(result, NoAnswer)
        assert result.certainty is Certainty.NOT_SENT
        assert result.reason.startswith(f"no connection to 127.0.0.1:{server.port}: ")


async def test_a_handshake_that_hangs_was_not_sent(trusting_client: CloudAgentClient, credentials: Credentials) -> None:
    closed = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.gone()
        closed.set()

    async with serving(script) as server:
        endpoint = Endpoint(f"https://127.0.0.1:{server.port}", "v3-query")
        result = await trusting_client.dispose(endpoint, credentials, CALL, deadline=0.3)
        assert isinstance(result, NoAnswer)
        assert result.certainty is Certainty.NOT_SENT
        await asyncio.wait_for(closed.wait(), 5)


async def test_a_reset_over_tls_after_sending_is_unknown(
    trusting_client: CloudAgentClient, credentials: Credentials, server_tls: ssl.SSLContext
) -> None:
    async with serving(reset, server_tls) as server:
        result = await trusting_client.dispose(server.endpoint, credentials, CALL, deadline=5)
        assert isinstance(result, NoAnswer)
        assert result.certainty is Certainty.SENT_UNKNOWN
