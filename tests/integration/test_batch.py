"""Many dispositions in one request: JSON and NDJSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.domain.filters import Filter
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.keys import OPERATOR
from app.settings import Settings
from app.wiring import Services
from tests.serving import serving


def disposition(number: int, **changes: object) -> dict[str, object]:
    fields = {"ucid": str(10**15 + number), "did": "918012345678", "agent_id": "a17", "disposition": "Sale"}
    return {"account": "acme", **fields, **changes}


@pytest.fixture
async def client(services: Services, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    await services.accounts.set("acme", AccountSettings(api_key=Secret("k"), max_in_flight=1), actor="test")
    key = await services.keys.create("crm", ["submit", "read"])
    async with (
        serving(settings) as url,
        httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, timeout=20) as client,
    ):
        yield client


async def stored(services: Services) -> list[dict[str, Any]]:
    return [one async for one in services.reports.export(Filter())]


async def test_each_item_has_its_own_result_in_order(client: httpx.AsyncClient, services: Services) -> None:
    items: list[object] = [disposition(1), disposition(2, ucid="12x"), disposition(3), "no object", disposition(1)]
    answer = await client.post("/v1/dispositions/batch", json={"dispositions": items})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [202, 422, 202, 422, 200]
    assert [result["index"] for result in results] == [0, 1, 2, 3, 4]
    assert results[1]["problem"]["errors"][0]["field"] == "ucid"
    (no_object,) = results[3]["problem"]["errors"]
    assert no_object == {"field": "body", "message": "a disposition must be a JSON object, not text"}
    assert results[4]["id"] == results[0]["id"]
    assert results[4]["duplicate"] is True
    assert [one["ucid"] for one in await stored(services)] == [items[0]["ucid"], items[2]["ucid"]]  # type: ignore[index]


async def test_dispositions_of_one_call_keep_their_order_within_a_batch(
    client: httpx.AsyncClient, services: Services
) -> None:
    items = [disposition(number % 10, disposition=f"code-{number}") for number in range(1000)]
    answer = await client.post("/v1/dispositions/batch", json={"dispositions": items})
    assert {result["status"] for result in answer.json()["results"]} == {202}
    waiting = [one for one in await stored(services) if one["state"] == "queued"]
    assert sorted(one["disposition"] for one in waiting) == [f"code-{number}" for number in range(990, 1000)]


async def test_an_item_has_an_idempotency_key_of_its_own(client: httpx.AsyncClient) -> None:
    items = [
        disposition(1, idempotency_key="a"),
        disposition(1, idempotency_key="a"),
        disposition(1, idempotency_key="a", disposition="Other"),
        disposition(1, idempotency_key="b"),
        disposition(1, idempotency_key=7),
    ]
    results = (await client.post("/v1/dispositions/batch", json={"dispositions": items})).json()["results"]
    assert [result["status"] for result in results] == [202, 200, 422, 202, 422]
    assert results[2]["problem"]["type"] == "urn:wrapup:problem:idempotency-key-reused"


@pytest.mark.parametrize(
    "body",
    [{}, {"dispositions": []}, {"dispositions": [{}] * 1001}, {"dispositions": "x"}, {"dispositions": [{}], "more": 1}],
)
async def test_a_body_that_is_no_batch_is_refused_as_a_whole(client: httpx.AsyncClient, body: object) -> None:
    answer = await client.post("/v1/dispositions/batch", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "dispositions"


async def test_lines_are_answered_line_by_line_and_in_order(client: httpx.AsyncClient, services: Services) -> None:
    lines = [json.dumps(disposition(number)) for number in range(2500)]
    lines[7] = "{not json"
    lines[8] = json.dumps(disposition(8, did=""))
    answer = await client.post(
        "/v1/dispositions/batch",
        content="\n".join([*lines[:5], "", *lines[5:]]),
        headers={"Content-Type": "application/x-ndjson"},
    )
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert [result["index"] for result in results] == list(range(2500))
    assert [results[7]["status"], results[8]["status"]] == [400, 422]
    assert {result["status"] for result in results[9:]} == {202}
    assert len(await stored(services)) == 2498


async def test_a_stream_is_answered_while_it_is_still_being_sent(client: httpx.AsyncClient) -> None:
    answered = asyncio.Event()
    key = client.headers["X-API-Key"]
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(
        b"POST /v1/dispositions/batch HTTP/1.1\r\nHost: x\r\nX-API-Key: " + key.encode() + b"\r\n"
        b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for number in (1, 2):
        line = json.dumps(disposition(number)).encode() + b"\n"
        writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        await writer.drain()
        seen = b""
        while b'"index":%d' % (number - 1) not in seen:
            seen += await asyncio.wait_for(reader.read(4096), 5)
        answered.set()
    writer.write(b"0\r\n\r\n")
    assert answered.is_set()
    writer.close()


async def test_a_line_that_is_too_long_ends_the_stream_with_a_problem(client: httpx.AsyncClient) -> None:
    lines = [json.dumps(disposition(1)), json.dumps(disposition(2, comments="x" * 70_000)), json.dumps(disposition(3))]
    answer = await client.post(
        "/v1/dispositions/batch", content="\n".join(lines), headers={"Content-Type": "application/x-ndjson"}
    )
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert [result["status"] for result in results] == [202, 413]


async def test_a_key_without_the_scope_streams_nothing(client: httpx.AsyncClient, services: Services) -> None:
    reader = await services.keys.create("reader", ["read"], actor=OPERATOR.actor)
    answer = await client.post(
        "/v1/dispositions/batch",
        content="{}",
        headers={"Content-Type": "application/x-ndjson", "X-API-Key": reader},
    )
    assert answer.status_code == 403
