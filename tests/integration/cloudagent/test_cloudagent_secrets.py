"""The apiKey is on the wire and nowhere else, whatever goes wrong and however closely one looks."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable

import httpx
import pytest
from raw_server import BODY, CALL, Script, Visit, always, once, reply, serving

from app.cloudagent.addresses import AddressPolicy
from app.cloudagent.client import CloudAgentClient
from app.cloudagent.credentials import Credentials, SecretHeader, SecretQuery
from app.cloudagent.failures import CallFailed, NotSent
from app.cloudagent.request import Endpoint, http_request
from app.cloudagent.transport import CloudAgentTransport
from app.cloudagent.v3_query import build
from app.domain.replies import Answer
from app.secrets import Secret

CANARY = "canary/key+27 & more"
ENCODED = "canary%2Fkey%2B27%20%26%20more"


@pytest.fixture
def credentials() -> Credentials:
    return Credentials(Secret(CANARY))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that anybody logs, and asyncio made to say all it can: each callback with its arguments."""
    caplog.set_level(logging.DEBUG)
    return caplog


def chatty() -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0


def assert_no_canary(*texts: str) -> None:
    for text in texts:
        for spelling in (CANARY, ENCODED, "canary%2Fkey%2B27+%26+more", "canary"):
            assert spelling not in text


def assert_log_clean(log: pytest.LogCaptureFixture) -> None:
    assert log.records  # it was listened to
    for record in log.records:
        assert_no_canary(record.getMessage(), repr(vars(record)))
        if record.exc_info and record.exc_info[1]:
            assert_no_canary(everything_about(record.exc_info[1]))


def everything_about(error: BaseException) -> str:
    """Error, causes and contexts with the locals of every frame, as a talkative formatter prints them."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(told.format()) + repr(error) + repr(vars(error)) + repr(error.__context__)


async def reset(visit: Visit) -> None:
    await visit.request()
    visit.reset()


async def hang(visit: Visit) -> None:
    await visit.request()
    await visit.gone()


async def close(visit: Visit) -> None:
    await visit.request()


SCRIPTS = [always(reply()), close, reset, hang, once(b"garbage"), once(reply(b"", status="302 Found"))]


@pytest.mark.parametrize("script", SCRIPTS)
async def test_the_key_is_sent_and_never_logged(
    client: CloudAgentClient, credentials: Credentials, log: pytest.LogCaptureFixture, script: Script
) -> None:
    chatty()
    async with serving(script) as server:
        result = await client.dispose(server.endpoint, credentials, CALL, deadline=0.3)
        assert server.targets[0].partition("?")[2].startswith(f"apiKey={ENCODED}&customer=acme&")
        # The server of this test knows the key, too, and its streams would say so.
        server.requests.clear()
    assert_no_canary(repr(result), str(result), repr(client), repr(vars(client)))
    assert_log_clean(log)


@pytest.mark.parametrize("script", [close, reset, hang, once(b"garbage")])
async def test_the_key_is_in_no_traceback_with_locals(credentials: Credentials, script: Script) -> None:
    transport = CloudAgentTransport(AddressPolicy(allow_loopback=True))
    async with serving(script) as server:
        request = build(server.endpoint, credentials, CALL)
        with pytest.raises((CallFailed, TimeoutError)) as caught:
            async with asyncio.timeout(0.3):
                await transport.handle_async_request(request)
        assert len(server.requests) == 1
    # Frames of pytest and of this test's server aside, these are all the frames there are.
    assert_no_canary(everything_about(caught.value))
    await transport.aclose()


async def test_the_key_is_in_no_traceback_of_a_connection_that_fails(credentials: Credentials) -> None:
    transport = CloudAgentTransport(AddressPolicy())
    for base_url in ("http://127.0.0.1:9", "https://no-such-host.invalid", "https://10.0.0.1"):
        request = build(Endpoint(base_url, "v3-query"), credentials, CALL)
        with pytest.raises(NotSent) as caught:
            await transport.handle_async_request(request)
        assert_no_canary(everything_about(caught.value))
        assert "DispositionAPIV3" not in str(caught.value)
        assert CALL.did not in str(caught.value)


async def test_what_httpx_sees_has_no_key(credentials: Credentials, log: pytest.LogCaptureFixture) -> None:
    """httpx logs every URL at INFO, and ``repr`` of a request shows it."""
    chatty()
    async with serving(always(reply(BODY, "Location: /elsewhere"))) as server:
        request = build(server.endpoint, credentials, CALL)
        transport = CloudAgentTransport(AddressPolicy(allow_loopback=True))
        async with httpx.AsyncClient(transport=transport, trust_env=False) as http:
            response = await http.send(request)
        assert ENCODED in server.targets[0]
        server.requests.clear()
    assert response.content == BODY
    seen = (request, request.url, request.headers, request.extensions, response, response.request, transport)
    assert_no_canary(*(repr(thing) + str(thing) for thing in seen))
    with pytest.raises(httpx.HTTPStatusError) as caught:
        httpx.Response(500, request=request).raise_for_status()
    assert_no_canary(everything_about(caught.value))
    assert any(record.name == "httpx" for record in log.records)
    assert_log_clean(log)


@pytest.mark.parametrize(
    "echo",
    [f"no such page: /x.php?apiKey={ENCODED}", f"bad key '{CANARY}'", "apiKey=canary%2Fkey%2B27+%26+more"],
)
async def test_a_reply_that_repeats_the_key_is_blotted_out(
    client: CloudAgentClient, credentials: Credentials, echo: str
) -> None:
    async with serving(once(reply(echo.encode(), status="404 Not Found"))) as server:
        answer = await client.dispose(server.endpoint, credentials, CALL, deadline=5)
    assert isinstance(answer, Answer)
    assert_no_canary(answer.body.decode())
    assert b"***" in answer.body


@pytest.fixture
def send_secret() -> Callable[[str, SecretQuery | SecretHeader], Awaitable[httpx.Response]]:
    async def send(base_url: str, secret: SecretQuery | SecretHeader) -> httpx.Response:
        transport = CloudAgentTransport(AddressPolicy(allow_loopback=True))
        request = http_request("GET", httpx.URL(f"{base_url}/x"), "1", secret, query="a=1")
        try:
            return await transport.handle_async_request(request)
        finally:
            await transport.aclose()

    return send


async def test_a_secret_can_go_into_a_header(
    send_secret: Callable[[str, SecretQuery | SecretHeader], Awaitable[httpx.Response]],
) -> None:
    async with serving(once(reply())) as server:
        await send_secret(server.endpoint.base_url, SecretHeader("Authorization", Secret("t0ken"), "Bearer "))
        assert b"\r\nAuthorization: Bearer t0ken\r\n" in server.requests[0]
        assert server.targets == ["/x?a=1"]


@pytest.mark.parametrize("secret", ["canary\r\nX-Injected: 1", "canary key", "canary\0", "canaryé", ""])
async def test_a_secret_that_no_header_can_hold_is_not_sent(
    send_secret: Callable[[str, SecretQuery | SecretHeader], Awaitable[httpx.Response]], secret: str
) -> None:
    async with serving(once(reply())) as server:
        with pytest.raises(NotSent) as caught:
            await send_secret(server.endpoint.base_url, SecretHeader("apiKey", Secret(secret)))
        assert server.requests == []
    if secret:
        assert "canary" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("secret", ["a\r\nX-Injected: 1", "a&action=get", "a b", "é\udc80", "a#b", "%41"])
async def test_a_secret_in_the_query_stays_one_parameter(
    send_secret: Callable[[str, SecretQuery | SecretHeader], Awaitable[httpx.Response]], secret: str
) -> None:
    async with serving(once(reply())) as server:
        await send_secret(server.endpoint.base_url, SecretQuery("apiKey", Secret(secret)))
    parameters = httpx.QueryParams(server.targets[0].partition("?")[2])
    assert parameters["apiKey"] == secret.replace("\udc80", "?")
    assert list(parameters) == ["apiKey", "a"]
    assert b"\r\nX-Injected" not in server.requests[0]
