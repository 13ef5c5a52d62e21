"""The stand-in's HTTP: keep-alive, pipelining, odd clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest

from app.sandbox import NotLoopbackError, Sandbox

V3 = "/CAServices/Disposition/DispositionAPIV3.php"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(api_key="k") as running:
        yield running


async def connect(sandbox: Sandbox) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urlsplit(sandbox.url)
    return await asyncio.open_connection(url.hostname, url.port)


def disposing(ucid: int, *headers: str) -> bytes:
    query = f"apiKey=k&customer=sandbox&did=9&agentID=a&disposition=Sale&action=set&ucid={ucid}"
    return "\r\n".join([f"GET {V3}?{query} HTTP/1.1", "host: x", *headers, "", ""]).encode()


async def answers(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    bodies = []
    async with asyncio.timeout(10):
        for _ in range(count):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            bodies.append(await reader.readexactly(length))
    return bodies


async def test_a_connection_serves_many_requests(sandbox: Sandbox) -> None:
    reader, writer = await connect(sandbox)
    for ucid in range(5):
        writer.write(disposing(ucid))
        assert b"saved" in (await answers(reader, 1))[0]
    writer.close()
    assert [seen.ucid for seen in sandbox.log] == ["0", "1", "2", "3", "4"]


async def test_pipelined_requests_are_answered_in_order_though_the_first_is_slow(sandbox: Sandbox) -> None:
    sandbox.script("0", ["error+latency:50ms"])
    sandbox.script("2", ["max_limit"])
    reader, writer = await connect(sandbox)
    writer.write(b"".join(disposing(ucid) for ucid in range(4)))
    bodies = await answers(reader, 4)
    writer.close()
    assert [b"retry after" in body for body in bodies] == [True, False, False, False]
    assert [b"Max limit" in body for body in bodies] == [False, False, True, False]


async def test_hundreds_of_pipelined_requests_are_all_answered(sandbox: Sandbox) -> None:
    sandbox.misbehave(latency="1ms")
    reader, writer = await connect(sandbox)
    writer.write(b"".join(disposing(ucid) for ucid in range(500)))
    assert len(await answers(reader, 500)) == 500
    writer.close()
    assert [int(seen.ucid) for seen in sandbox.log] == list(range(500))


async def test_a_reset_takes_the_pipelined_requests_behind_it_along(sandbox: Sandbox) -> None:
    sandbox.script("0", ["reset_after"])
    reader, writer = await connect(sandbox)
    writer.write(disposing(0) + disposing(1))
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    assert [seen.ucid for seen in sandbox.log] == ["0"]


async def test_a_request_may_arrive_in_pieces(sandbox: Sandbox) -> None:
    reader, writer = await connect(sandbox)
    for byte in disposing(1):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    assert b"saved" in (await answers(reader, 1))[0]
    writer.close()


async def test_a_client_that_wants_to_close_gets_its_answer_and_a_close(sandbox: Sandbox) -> None:
    reader, writer = await connect(sandbox)
    writer.write(disposing(1, "connection: close") + disposing(2))
    answer = await reader.read()
    writer.close()
    assert b"connection: close" in answer
    assert len(sandbox.log) == 1


async def test_what_is_not_http_is_answered_with_400(sandbox: Sandbox) -> None:
    reader, writer = await connect(sandbox)
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_a_body_without_measure_is_answered_with_413(sandbox: Sandbox) -> None:
    reader, writer = await connect(sandbox)
    size = 2 * 1024 * 1024
    writer.write(f"POST /ca_apis/dispositionAPIV2 HTTP/1.1\r\ncontent-length: {size}\r\n\r\n".encode())
    writer.write(bytes(size))
    assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", V3, 405), ("GET", "/ca_apis/dispositionAPIV2", 405), ("GET", "/", 404)],
)
async def test_other_urls_and_methods_are_turned_away_and_logged(
    sandbox: Sandbox, method: str, path: str, status: int
) -> None:
    async with httpx.AsyncClient(base_url=sandbox.url) as client:
        assert (await client.request(method, path, params={"apiKey": "canary"})).status_code == status
    assert [(seen.method, seen.path, seen.status) for seen in sandbox.log] == [(method, path, status)]
    assert "canary" not in repr(sandbox.log)


async def test_v2_speaks_json_with_a_key_in_the_header(sandbox: Sandbox) -> None:
    asked = {
        "userName": "sandbox",
        "action": "Set",
        "ucid": "12",
        "did": "9",
        "agentID": "a",
        "disposition": "Sale",
        "pauseAfterDispose": True,
        "pauseReason": "Lunch",
        "comments": None,
    }
    async with httpx.AsyncClient(base_url=sandbox.url, headers={"apiKey": "k"}) as client:
        first = await client.post("/ca_apis/dispositionAPIV2", json=asked)
        second = await client.post("/ca_apis/dispositionAPIV2", json=asked)
        nonsense = await client.post("/ca_apis/dispositionAPIV2", content=b"[1]")
    assert first.json() == {"details": "Disposition saved successfully", "status": "Success"}
    assert second.json()["details"] == "This call is already Disposed."
    assert nonsense.json()["message"] == "UserName is null"
    known = sandbox.call("12")
    assert known is not None
    assert known.held is not None
    assert known.held.pause_after_dispose


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", ""])
async def test_v2_speaks_json_with_a_token(sandbox: Sandbox, scheme: str) -> None:
    async with httpx.AsyncClient(base_url=sandbox.url) as client:
        made = await client.post(
            "/ca_apis/CAToken/generateToken", headers={"apiKey": "k"}, json={"userName": "sandbox"}
        )
        token = made.json()["token"]
        listed = await client.post(
            "/ca_apis/dispositionAPIV2",
            headers={"Authorization": scheme + token},
            json={"userName": "sandbox", "action": "get"},
        )
        bare = await client.post(
            "/ca_apis/dispositionAPIV2", headers={"Authorization": "Bearer"}, json={"userName": "sandbox"}
        )
    assert "Sale" in listed.json()["details"]
    assert bare.json()["message"] == "Token Should Not be Null or Empty."
    assert [seen.credential for seen in sandbox.log] == ["json_key", "token", "token"]
    assert token not in repr(sandbox.log)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com", ""])
def test_it_refuses_to_listen_where_others_could_reach_it(host: str) -> None:
    with pytest.raises(NotLoopbackError, match="loopback"):
        Sandbox(api_key="k", host=host)


async def test_localhost_is_one_address() -> None:
    async with Sandbox(api_key="k", host="localhost") as sandbox:
        assert sandbox.url.startswith("http://127.0.0.1:")


async def test_it_leaves_with_clients_still_connected() -> None:
    async with Sandbox(api_key="k") as sandbox:
        sandbox.next("hang")
        reader, writer = await connect(sandbox)
        writer.write(disposing(1))
        await sandbox.arrivals(1)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
