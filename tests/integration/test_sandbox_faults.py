"""Every fault of the stand-in as a client meets it on a real socket, and what CloudAgent holds afterwards."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from urllib.parse import urlencode, urlsplit

import orjson
import pytest

from app.sandbox import FAULTS, Sandbox

UCID = "1234567890123456"
RIGHT = {
    "apiKey": "s3cret",
    "customer": "sandbox",
    "action": "set",
    "ucid": UCID,
    "did": "918012345678",
    "agentID": "a17",
    "disposition": "Sale",
}
SAVED = {"details": "Disposition saved successfully", "status": " Success"}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(api_key="s3cret") as running:
        yield running


async def connect(sandbox: Sandbox) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urlsplit(sandbox.url)
    return await asyncio.open_connection(url.hostname, url.port, limit=2**26)


def request(**changes: str) -> bytes:
    query = urlencode(RIGHT | changes)
    return f"GET /CAServices/Disposition/DispositionAPIV3.php?{query} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


async def call(sandbox: Sandbox, *, timeout: float = 5.0, **changes: str) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own: status, headers, and the body up to its announced length."""
    reader, writer = await connect(sandbox)
    try:
        async with asyncio.timeout(timeout):
            writer.write(request(**changes))
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
            return int(head[0].split()[1]), headers, body
    finally:
        writer.close()


def holds_a_disposition(sandbox: Sandbox) -> bool:
    known = sandbox.call(UCID)
    return known is not None and known.held is not None


@pytest.mark.parametrize("fault", ["reset_before", "reset_after"])
async def test_a_reset_is_a_reset_and_not_a_close(sandbox: Sandbox, fault: str) -> None:
    sandbox.script(UCID, [fault])
    with pytest.raises(ConnectionResetError):
        await call(sandbox)
    assert holds_a_disposition(sandbox) == FAULTS[fault].applies
    assert (await call(sandbox))[0] == 200


@pytest.mark.parametrize("fault", ["hang", "hang_after"])
async def test_a_hanging_call_sends_nothing_until_the_client_leaves(sandbox: Sandbox, fault: str) -> None:
    sandbox.script(UCID, [fault])
    with pytest.raises(TimeoutError):
        await call(sandbox, timeout=0.2)
    assert holds_a_disposition(sandbox) == FAULTS[fault].applies
    assert sandbox.log[0].status is None


async def test_a_call_is_in_flight_until_its_client_leaves(sandbox: Sandbox) -> None:
    sandbox.script(UCID, ["hang"])
    _, writer = await connect(sandbox)
    writer.write(request())
    await sandbox.arrivals(1)
    await call(sandbox, ucid="7")
    assert [seen.in_flight for seen in sandbox.log] == [1, 2]
    assert sandbox.in_flight == 1
    writer.close()
    async with asyncio.timeout(5):
        while sandbox.in_flight:
            await call(sandbox, ucid="8")


async def test_half_an_answer_ends_in_the_middle_of_the_body(sandbox: Sandbox) -> None:
    sandbox.script(UCID, ["half"])
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await call(sandbox)
    assert caught.value.partial.startswith(b'{"details":"Disposition')
    assert len(caught.value.partial) < (caught.value.expected or 0)
    assert holds_a_disposition(sandbox)


async def test_a_slow_drip_comes_byte_by_byte(sandbox: Sandbox) -> None:
    sandbox.script(UCID, ["slow_drip:1ms"])
    reader, writer = await connect(sandbox)
    writer.write(request())
    reads = []
    async with asyncio.timeout(10):
        while not b"".join(reads).endswith(b"}"):
            reads.append(await reader.read(4096))
    writer.close()
    assert len(reads) > 50
    assert orjson.loads(b"".join(reads).split(b"\r\n\r\n")[1]) == SAVED


async def test_a_slow_drip_outlasts_a_short_deadline(sandbox: Sandbox) -> None:
    sandbox.script(UCID, ["slow_drip"])
    with pytest.raises(TimeoutError):
        await call(sandbox, timeout=0.5)


async def test_noise_is_not_http(sandbox: Sandbox) -> None:
    sandbox.script(UCID, ["not_http"])
    reader, writer = await connect(sandbox)
    writer.write(request())
    assert not (await reader.read()).startswith(b"HTTP")
    writer.close()


async def test_a_huge_body_begins_like_a_success_and_is_streamed(sandbox: Sandbox) -> None:
    sandbox.script(UCID, ["huge:3"])
    reader, writer = await connect(sandbox)
    writer.write(request())
    answer = await reader.read()
    writer.close()
    assert b"transfer-encoding: chunked" in answer
    assert answer.endswith(b"0\r\n\r\n")
    assert b'{"status": " Success"' in answer
    assert len(answer) > 3 * 1024 * 1024
    assert not holds_a_disposition(sandbox)


async def test_a_client_may_leave_in_the_middle_of_a_huge_body(sandbox: Sandbox) -> None:
    sandbox.script(UCID, ["huge:4096"])
    reader, writer = await connect(sandbox)
    writer.write(request())
    await reader.readexactly(100_000)
    writer.close()
    assert (await call(sandbox))[0] == 200


async def test_a_gzip_bomb_is_small_until_it_is_unpacked(sandbox: Sandbox) -> None:
    sandbox.script(UCID, ["gzip_bomb"])
    _, headers, body = await call(sandbox)
    assert headers["content-encoding"] == "gzip"
    assert len(body) < 100_000
    assert len(gzip.decompress(body)) == 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("step", "status", "body"),
    [
        ("html", 200, b"<!DOCTYPE html>"),
        ("garbage", 200, bytes(range(128, 256))),
        ("empty", 200, b""),
        ("429", 429, b"Too Many Requests"),
        ("503", 503, b"Service Unavailable"),
        ("500", 500, b"Internal Server Error"),
        ("500_success", 500, b"Disposition saved successfully"),
        ("404", 404, b"Not Found"),
        ("401", 401, b"Authentication fails"),
        ("403", 403, b"Forbidden"),
        ("error", 200, b'{"status":"Error","details":"Unable to Dispose . Please retry after some time."}'),
        ("max_limit", 200, b"Max limit exceeded"),
        ("unknown_fail", 200, b'"Fail"'),
        ("unknown_error", 200, b'"Error"'),
        ("unknown_status", 200, b'"Maybe"'),
        ("auth_fail", 200, b'{"status":"Fail","details":"Authentication fails"}'),
    ],
)
async def test_a_fault_answers_with_its_status_and_body(sandbox: Sandbox, step: str, status: int, body: bytes) -> None:
    sandbox.script(UCID, [step])
    answered, _, content = await call(sandbox)
    assert answered == status
    assert body in content
    assert holds_a_disposition(sandbox) == FAULTS[step].applies
    seen = sandbox.log[0]
    assert (seen.fault, seen.status, seen.applied, seen.reply) == (
        step,
        status,
        FAULTS[step].applies,
        content,
    )


@pytest.mark.parametrize("status", ["429", "503"])
async def test_retry_after_is_sent_when_it_is_asked_for(sandbox: Sandbox, status: str) -> None:
    sandbox.script(UCID, [f"{status}:7", status])
    assert (await call(sandbox))[1]["retry-after"] == "7"
    assert "retry-after" not in (await call(sandbox))[1]


async def test_a_client_that_follows_a_redirect_shows_up_in_the_log(sandbox: Sandbox) -> None:
    sandbox.script(UCID, ["redirect"])
    status, headers, _ = await call(sandbox)
    assert status == 302
    reader, writer = await connect(sandbox)
    writer.write(f"GET {headers['location']} HTTP/1.0\r\n\r\n".encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 404")
    writer.close()
    assert [(seen.path, seen.status) for seen in sandbox.log][1] == ("/after-redirect", 404)


async def test_decorations_change_how_a_right_answer_looks(sandbox: Sandbox) -> None:
    sandbox.script(UCID, ["bom+wrong_content_type+message+key_order+extra_keys+odd_spacing+upper_case"])
    _, headers, body = await call(sandbox)
    assert headers["content-type"].startswith("text/html")
    assert body.startswith(b"\xef\xbb\xbf \r\n ")
    members = orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
    assert members["message"] == "  DISPOSITION  SAVED  SUCCESSFULLY "
    assert "details" not in members
    assert holds_a_disposition(sandbox)


async def test_latency_comes_after_the_disposition_is_applied(sandbox: Sandbox) -> None:
    sandbox.script(UCID, ["ok+latency:2m"])
    with pytest.raises(TimeoutError):
        await call(sandbox, timeout=0.1)
    assert holds_a_disposition(sandbox)


async def test_latency_delays_an_answer(sandbox: Sandbox) -> None:
    sandbox.misbehave(latency="60ms")
    started = asyncio.get_running_loop().time()
    assert orjson.loads((await call(sandbox))[2]) == SAVED
    assert asyncio.get_running_loop().time() - started >= 0.059


async def test_one_account_hangs_while_another_is_answered(sandbox: Sandbox) -> None:
    sandbox.account("slow", api_key="slow-key")
    sandbox.misbehave("slow", mix="hang=100")
    with pytest.raises(TimeoutError):
        await call(sandbox, customer="slow", apiKey="slow-key", timeout=0.1)
    assert (await call(sandbox))[0] == 200


async def test_the_log_says_what_was_asked_and_answered_and_never_the_key(sandbox: Sandbox) -> None:
    reader, writer = await connect(sandbox)
    writer.write(request(comments="a b").replace(b"host: x", b"X-Request-Id: attempt-1"))
    await reader.readuntil(b"}")
    writer.close()
    await call(sandbox, apiKey="wrong-s3cret")
    right, wrong = sandbox.log
    assert (right.number, right.request_id, right.row, right.applied) == (1, "attempt-1", "saved", True)
    assert right.parameters["comments"] == "a b"
    assert (right.credential_right, wrong.credential_right) == (True, False)
    assert right.credential_fingerprint != wrong.credential_fingerprint
    assert right.arrived_monotonic_ns < wrong.arrived_monotonic_ns
    assert right.arrived_at.tzinfo is not None
    for shown in (repr(sandbox.log), *(seen.to_line().decode() for seen in sandbox.log)):
        assert "s3cret" not in shown
