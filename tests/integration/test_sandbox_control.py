"""The stand-in's control plane, as another process uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import orjson
import pytest

from app.sandbox import Sandbox

UCID = "1234567890123456"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with Sandbox(api_key="k") as sandbox, httpx.AsyncClient(base_url=sandbox.url) as running:
        yield running


async def dispose(client: httpx.AsyncClient, **changes: str) -> httpx.Response:
    asked = {
        "apiKey": "k",
        "customer": "sandbox",
        "did": "9",
        "agentID": "a",
        "disposition": "Sale",
        "action": "set",
        "ucid": UCID,
    }
    return await client.get("/CAServices/Disposition/DispositionAPIV3.php", params=asked | changes)


async def test_a_script_is_set_and_ended(client: httpx.AsyncClient) -> None:
    script = {
        "calls": {UCID: ["503:2", "error"]},
        "next": "404",
        "token": ["401"],
        "mix": "500=100",
        "seed": 3,
    }
    assert (await client.put("/_sandbox/script", json=script)).status_code == 200
    assert [(await dispose(client)).status_code for _ in range(3)] == [503, 200, 404]
    assert (await client.post("/ca_apis/CAToken/generateToken")).status_code == 401
    assert (await dispose(client)).status_code == 500
    await client.delete("/_sandbox/script")
    assert (await dispose(client)).json()["status"] == " Success"


async def test_an_account_can_be_made_to_behave_badly(client: httpx.AsyncClient) -> None:
    await client.put("/_sandbox/accounts/other", json={"api_key": "o"})
    await client.put("/_sandbox/script", json={"accounts": {"other": {"mix": "503=100", "latency": "1ms"}}})
    assert (await dispose(client)).status_code == 200
    assert (await dispose(client, customer="other", apiKey="o")).status_code == 503


async def test_the_log_is_read_in_order_from_a_number_on_and_forgotten(client: httpx.AsyncClient) -> None:
    for ucid in ("1", "2", "3"):
        await dispose(client, ucid=ucid)
    lines = [orjson.loads(line) for line in (await client.get("/_sandbox/log?after=1")).content.splitlines()]
    assert [(line["number"], line["ucid"], line["row"], line["status"]) for line in lines] == [
        (2, "2", "saved", 200),
        (3, "3", "saved", 200),
    ]
    assert lines[0]["parameters"]["apiKey"].startswith("<fingerprint ")
    await client.delete("/_sandbox/log")
    assert (await client.get("/_sandbox/log")).content == b""
    await dispose(client)
    assert orjson.loads((await client.get("/_sandbox/log")).content)["number"] == 4


async def test_a_call_shows_what_cloudagent_holds(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/_sandbox/calls/sandbox/{UCID}")).status_code == 404
    await dispose(client, comments="first")
    await dispose(client, comments="second")
    held = (await client.get(f"/_sandbox/calls/sandbox/{UCID}")).json()
    assert held["writes"] == 2
    assert held["held"]["comments"] == "second"


async def test_a_call_is_announced_as_going_on_and_ended(client: httpx.AsyncClient) -> None:
    await client.put(f"/_sandbox/calls/sandbox/{UCID}", json={"did": "9", "ongoing": True})
    assert (await dispose(client)).json()["details"] == "queued successfully"
    ended = (await client.put(f"/_sandbox/calls/sandbox/{UCID}", json={"ongoing": False})).json()
    assert ended["held"]["disposition"] == "Sale"
    assert ended["queued"] is None
    assert "Invalid ucid" in (await dispose(client, did="8")).json()["details"]


async def test_an_accounts_key_is_changed_and_the_rest_of_it_stays(client: httpx.AsyncClient) -> None:
    await client.put("/_sandbox/accounts/sandbox", json={"agents": ["b"], "callback_formats": ["mdy"]})
    await client.put("/_sandbox/accounts/sandbox", json={"api_key": "new"})
    assert (await dispose(client)).json()["details"] == "Authentication fails"
    assert (await dispose(client, apiKey="new")).json()["details"] == "Invalid agent"
    refused = await dispose(client, apiKey="new", agentID="b", callBackTime="2026-12-01 10:00:00")
    assert refused.json()["details"].startswith("callBackTime should be")


async def test_health_counts_requests(client: httpx.AsyncClient) -> None:
    await dispose(client)
    health = (await client.get("/_sandbox/health")).json()
    assert health == {"status": "ok", "requests": 1, "in_flight": 0, "customers": ["sandbox"]}


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("script", b"{", "not JSON"),
        ("script", b"[]", "object"),
        ("script", b'{"cals": {}}', "cals"),
        ("script", b'{"next": 5}', "next must be"),
        ("script", b'{"next": ["fire"]}', "fire"),
        ("script", b'{"calls": {"1": 5}}', "calls"),
        ("script", b'{"accounts": {"a": "hang"}}', "accounts"),
        ("script", b'{"next": [5]}', "next"),
        ("script", b'{"mix": "503=200"}', "at most 100"),
        ("accounts/new", b"{}", "api_key"),
        ("accounts/sandbox", b'{"callback_formats": ["dmy"]}', "dmy"),
        ("accounts/sandbox", b'{"agents": "a1"}', "agents must be"),
        ("calls/sandbox/1", b'{"ongoing": 1}', "ongoing must be"),
    ],
)
async def test_a_mistake_is_told(client: httpx.AsyncClient, path: str, body: bytes, problem: str) -> None:
    answer = await client.put(f"/_sandbox/{path}", content=body)
    assert answer.status_code == 400
    assert problem in answer.json()["error"]
    assert (await dispose(client)).json()["status"] == " Success"


@pytest.mark.parametrize("path", ["nothing", "calls/nobody/1", "log?after=x"])
async def test_what_is_not_there_is_told(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/_sandbox/{path}")
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]
