"""What CloudAgent answers comes through as it is: framing off, size capped, nothing followed or decoded."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from raw_server import BODY, CALL, Visit, always, once, reply, serving

from app.cloudagent.client import CloudAgentClient
from app.cloudagent.credentials import Credentials
from app.domain.replies import Answer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*pieces: bytes, trailer: bytes = b"") -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return CHUNKED + chunks + b"0\r\n" + trailer + b"\r\n"


async def test_a_request_carries_the_documented_parameters_and_the_attempts_id(
    client: CloudAgentClient, credentials: Credentials
) -> None:
    async with serving(always(reply())) as server:
        answer = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
    assert isinstance(answer, Answer)
    assert (answer.http_status, answer.body, answer.too_large) == (200, BODY, False)
    assert server.targets == [
        "/CAServices/Disposition/DispositionAPIV3.php?apiKey=KK0123456789abcdef&customer=acme&did=918012345678"
        "&agentID=a17&disposition=Call%20back&ucid=1234567890123456&action=set"
    ]
    head = server.requests[0].decode()
    assert head.startswith("GET ")
    assert f"\r\nHost: 127.0.0.1:{server.port}\r\n" in head
    assert f"\r\nX-Request-Id: {CALL.request_id}\r\n" in head
    assert "\r\nAccept-Encoding: identity\r\n" in head


@pytest.mark.parametrize(
    ("said", "status", "body"),
    [
        pytest.param(reply(), 200, BODY, id="content-length"),
        pytest.param(reply(b""), 200, b"", id="empty"),
        pytest.param(chunked(BODY[:7], BODY[7:]), 200, BODY, id="chunked"),
        pytest.param(chunked(*(bytes([b]) for b in BODY)), 200, BODY, id="chunks of one byte"),
        pytest.param(chunked(BODY, trailer=b"X-Checksum: 1\r\n"), 200, BODY, id="chunked with a trailer"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + BODY, 200, BODY, id="until the connection closes"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + BODY, 200, BODY, id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", id="no content"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + reply(), 200, BODY, id="interim reply"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3 + reply(), 200, BODY, id="interims"),
        pytest.param(reply(b"busy", status="503 Service Unavailable"), 503, b"busy", id="server error"),
    ],
)
async def test_every_framing_of_a_body_is_understood(
    client: CloudAgentClient, credentials: Credentials, said: bytes, status: int, body: bytes
) -> None:
    async with serving(once(said)) as server:
        answer = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
    assert isinstance(answer, Answer)
    assert (answer.http_status, answer.body) == (status, body)


async def test_a_reply_that_arrives_byte_by_byte_is_whole_at_the_end(
    client: CloudAgentClient, credentials: Credentials
) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        for byte in chunked(BODY):
            await visit.send(bytes([byte]))
            await asyncio.sleep(0)

    async with serving(script) as server:
        answer = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
    assert isinstance(answer, Answer)
    assert answer.body == BODY


async def test_the_headers_that_decide_are_reported(client: CloudAgentClient, credentials: Credentials) -> None:
    said = reply(b"", "RETRY-AFTER: 120", "content-type: text/html", status="429 Too Many Requests")
    async with serving(once(said)) as server:
        answer = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
    assert isinstance(answer, Answer)
    assert (answer.http_status, answer.retry_after, answer.content_type) == (429, "120", "text/html")


async def test_a_trailer_is_no_header(client: CloudAgentClient, credentials: Credentials) -> None:
    async with serving(once(chunked(BODY, trailer=b"Retry-After: 1\r\n"))) as server:
        answer = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
    assert isinstance(answer, Answer)
    assert (answer.body, answer.retry_after) == (BODY, None)


async def test_a_redirect_is_an_answer_and_is_not_followed(client: CloudAgentClient, credentials: Credentials) -> None:
    async with serving(always(reply())) as elsewhere:
        location = f"Location: {elsewhere.endpoint.base_url}/stolen"
        async with serving(once(reply(b"", location, status="302 Found"))) as server:
            answer = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
        assert isinstance(answer, Answer)
        assert answer.http_status == 302
        assert elsewhere.connections == 0


@pytest.mark.parametrize("framing", ["content-length", "chunked", "until close"])
async def test_a_huge_body_is_cut_off_and_its_connection_closed(
    client: CloudAgentClient, credentials: Credentials, framing: str
) -> None:
    closed = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        piece = b"x" * 10_000
        try:
            if framing == "content-length":
                await visit.send(reply(b"", length=1_000_000_000))
            else:
                await visit.send(CHUNKED if framing == "chunked" else b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                await visit.send(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
        except ConnectionError:
            closed.set()

    async with serving(script) as server:
        answer = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
        assert isinstance(answer, Answer)
        assert answer.too_large
        assert answer.body == b"x" * 65_536
        await asyncio.wait_for(closed.wait(), 5)


async def test_a_body_of_exactly_the_limit_is_not_too_large(client: CloudAgentClient, credentials: Credentials) -> None:
    async with serving(always(reply(b"x" * 65_536))) as server:
        for _ in range(2):
            answer = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
            assert isinstance(answer, Answer)
            assert (len(answer.body), answer.too_large) == (65_536, False)
        assert server.connections == 1


async def test_a_compressed_body_is_not_unpacked(client: CloudAgentClient, credentials: Credentials) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    async with serving(once(reply(bomb, "Content-Encoding: gzip"))) as server:
        answer = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
    assert isinstance(answer, Answer)
    assert answer.body == bomb


@pytest.mark.parametrize("noise", [b"0;" + b"x" * 1000, b"X-Trailer: " + b"x" * 1000])
async def test_framing_without_end_is_given_up(
    client: CloudAgentClient, credentials: Credentials, noise: bytes
) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + b"1\r\n{\r\n0" + (b"\r\n" if noise.startswith(b"X") else b""))
        await visit.send(noise)
        while True:
            await visit.send(b"x" * 10_000)

    async with serving(script) as server:
        answer = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
    assert isinstance(answer, Answer)
    assert answer.too_large
    assert answer.body == b"{"


async def test_proxies_of_the_environment_are_ignored(
    client: CloudAgentClient, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(once(reply())) as server:
        answer = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
        assert isinstance(answer, Answer)
        assert len(server.requests) == 1


async def test_two_hundred_calls_at_once_arrive_once_each(client: CloudAgentClient, credentials: Credentials) -> None:
    everybody = asyncio.Event()

    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            if len(server.requests) >= 200:
                everybody.set()
            await everybody.wait()
            await visit.send(reply())

    async with serving(script) as server:
        for _ in range(2):
            calls = (client.dispose(server.endpoint, credentials, CALL, deadline=20) for _ in range(200))
            answers = await asyncio.gather(*calls)
            assert all(isinstance(answer, Answer) and answer.body == BODY for answer in answers)
        assert len(server.requests) == 400
        assert server.connections == 200  # the second round went over the connections of the first
