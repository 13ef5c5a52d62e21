"""``POST /v1/dispositions``: what is taken, what is a duplicate, and what is refused and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from callers import SALE, Api

URL = "/v1/dispositions"


def problem(answer: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """The problem document of an answer, which must be of this kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"urn:wrapup:problem:{name}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


async def test_a_disposition_is_stored_and_can_be_looked_up_where_the_answer_says(
    api: Api, crm: httpx.AsyncClient
) -> None:
    answer = await crm.post(URL, json=SALE)
    assert answer.status_code == 202
    receipt = answer.json()
    assert receipt == {
        "id": receipt["id"],
        "state": "queued",
        "account": "acme",
        "ucid": SALE["ucid"],
        "duplicate": False,
    }
    assert answer.headers["location"] == f"{URL}/{receipt['id']}"
    assert api.count("dispositions") == 1
    shown = await crm.get(answer.headers["location"])
    assert shown.status_code == 200
    assert shown.json()["events"][0]["actor"] == "client:crm"


@pytest.mark.parametrize("form", ["urlencoded", "multipart"])
async def test_a_form_says_the_same_as_json(api: Api, crm: httpx.AsyncClient, form: str) -> None:
    fields = {**SALE, "pause_after_dispose": "true", "pause_reason": "lunch", "comments": "नमस्ते & more"}
    sent = (
        {"data": fields} if form == "urlencoded" else {"files": {name: (None, text) for name, text in fields.items()}}
    )
    answer = await crm.post(URL, **sent)  # type: ignore[arg-type]
    assert answer.status_code == 202
    shown = (await crm.get(answer.headers["location"])).json()
    assert {name: shown[name] for name in fields} == {**fields, "pause_after_dispose": True}
    assert (await crm.post(URL, json={**fields, "pause_after_dispose": True})).json()["duplicate"] is True
    assert api.count("dispositions") == 1


async def test_cloudagents_own_names_are_taken(crm: httpx.AsyncClient) -> None:
    fields = {
        "customer": "acme",
        "ucid": "1234567890123456",
        "did": "918012345678",
        "agentID": "a17",
        "disposition": "CallBack",
        "callBackTime": "2026-12-24 18:30:00",
        "callBackTimeZone": "Asia/Kolkata",
        "pauseAfterDispose": "false",
        "action": "SET",
    }
    answer = await crm.post(URL, json=fields)
    shown = (await crm.get(answer.headers["location"])).json()
    assert (shown["account"], shown["agent_id"], shown["callback_time"]) == ("acme", "a17", "2026-12-24 18:30:00")


async def test_the_account_of_a_key_bound_to_one_goes_without_saying(api: Api) -> None:
    bound = await api.client("submit", accounts=["globex"])
    answer = await bound.post(URL, json={name: value for name, value in SALE.items() if name != "account"})
    assert answer.json()["account"] == "globex"


async def test_an_account_that_is_not_the_keys_own_reads_as_one_that_is_not_there(api: Api) -> None:
    bound = await api.client("submit", accounts=["globex"])
    foreign = problem(await bound.post(URL, json=SALE), 422, "invalid-input")
    unknown = problem(await bound.post(URL, json={**SALE, "account": "nobody"}), 422, "invalid-input")
    assert foreign["errors"][0]["message"].replace("acme", "nobody") == unknown["errors"][0]["message"]
    assert api.count("dispositions") == 0


async def test_the_same_again_is_a_duplicate_of_the_newest_only(api: Api, crm: httpx.AsyncClient) -> None:
    first = await crm.post(URL, json=SALE)
    again = await crm.post(URL, json=SALE)
    assert (again.status_code, again.json()) == (200, {**first.json(), "duplicate": True})
    assert again.headers["location"] == first.headers["location"]
    other = await crm.post(URL, json={**SALE, "disposition": "No Sale"})
    third = await crm.post(URL, json=SALE)
    assert [other.status_code, third.status_code] == [202, 202]
    assert api.count("dispositions") == 3


async def test_fifty_identical_requests_at_once_make_one_disposition(api: Api, crm: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(crm.post(URL, json=SALE) for _ in range(50)))
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [202]
    assert api.count("dispositions") == 1


async def test_an_idempotency_key_with_the_same_body_gives_the_original(api: Api, crm: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "a-1"}
    first = await crm.post(URL, json=SALE, headers=key)
    await crm.post(URL, json={**SALE, "disposition": "No Sale"})
    again = await crm.post(URL, content=urlencode(SALE), headers={**key, "Content-Type": FORM})
    assert (again.status_code, again.json()["id"], again.json()["duplicate"]) == (200, first.json()["id"], True)
    assert again.json()["state"] == "superseded"
    assert api.count("dispositions") == 2


FORM = "application/x-www-form-urlencoded"


async def test_an_idempotency_key_with_another_body_is_refused(api: Api, crm: httpx.AsyncClient) -> None:
    await crm.post(URL, json=SALE, headers={"Idempotency-Key": "a-1"})
    answer = await crm.post(URL, json={**SALE, "disposition": "No Sale"}, headers={"Idempotency-Key": "a-1"})
    problem(answer, 422, "idempotency-key-reused")
    assert api.count("dispositions") == 1


async def test_an_idempotency_key_is_each_clients_own(api: Api, crm: httpx.AsyncClient) -> None:
    other = await api.client("submit")
    first = await crm.post(URL, json=SALE, headers={"Idempotency-Key": "a-1"})
    second = await other.post(URL, json={**SALE, "disposition": "No Sale"}, headers={"Idempotency-Key": "a-1"})
    assert [first.status_code, second.status_code] == [202, 202]


async def test_older_news_of_a_call_are_stored_and_superseded_at_once(crm: httpx.AsyncClient) -> None:
    await crm.post(URL, json={**SALE, "occurred_at": "2026-11-20T12:00:00Z"})
    late = await crm.post(URL, json={**SALE, "disposition": "No Sale", "occurred_at": "2026-11-20T11:00:00Z"})
    assert (late.status_code, late.json()["state"]) == (202, "superseded")


async def test_all_wrong_fields_are_named_at_once(api: Api, crm: httpx.AsyncClient) -> None:
    wrong = {
        "account": "nobody",
        "ucid": "12345678901234567890",
        "did": "not a number",
        "disposition": " ",
        "action": "unset",
        "callback_time": "tomorrow",
        "pause_after_dispose": "perhaps",
        "max_age_seconds": 0,
        "occurred_at": "2026-02-30T00:00:00Z",
        "comments": "\x07",
        "agentId": "a17",
    }
    document = problem(await crm.post(URL, json=wrong), 422, "invalid-input")
    assert {error["field"] for error in document["errors"]} == {*wrong, "agent_id"}
    assert all(error["message"] for error in document["errors"])
    assert "retry after some time" in next(e["message"] for e in document["errors"] if e["field"] == "ucid")
    assert api.count("dispositions") == 0


JSON = "application/json"

REFUSED: dict[str, tuple[bytes, str, int, str]] = {
    "empty": (b"", JSON, 400, "malformed-body"),
    "not JSON": (b"{", JSON, 400, "malformed-body"),
    "not UTF-8": (b'{"ucid": "\xff"}', JSON, 400, "malformed-body"),
    "overlong UTF-8": (b'{"ucid": "\xc0\xaf"}', JSON, 400, "malformed-body"),
    "NaN": (b'{"max_age_seconds": NaN}', JSON, 400, "malformed-body"),
    "a lone surrogate": (rb'{"comments": "\ud800"}', JSON, 400, "malformed-body"),
    "NUL": (rb'{"comments": "\u0000"}', JSON, 400, "malformed-body"),
    "a key twice": (b'{"ucid": "1", "ucid": "2"}', JSON, 400, "malformed-body"),
    "too deep": (b'{"a":' + b"[" * 50 + b"]" * 50 + b"}", JSON, 400, "malformed-body"),
    "a list": (b"[]", JSON, 422, "invalid-input"),
    "a text": (b'"x"', JSON, 422, "invalid-input"),
    "null": (b"null", JSON, 422, "invalid-input"),
    "no field": (b"{}", JSON, 422, "invalid-input"),
    "XML": (b"<ucid/>", "text/xml", 415, "unsupported-body"),
    "not of UTF-8": (b"{}", "application/json; charset=utf-16", 415, "unsupported-body"),
    "multipart without its end": (b"--x\r\n", "multipart/form-data; boundary=x", 400, "malformed-body"),
    "a form's field twice": (b"ucid=1&ucid=2", FORM, 400, "malformed-body"),
}


async def test_a_body_that_is_refused_stores_nothing(api: Api, crm: httpx.AsyncClient) -> None:
    tables = ("dispositions", "calls", "events", "idempotency_keys", "count_deltas")
    before = {table: api.count(table) for table in tables}
    for body, content_type, status, name in REFUSED.values():
        answer = await crm.post(URL, content=body, headers={"Content-Type": content_type, "Idempotency-Key": "a-1"})
        problem(answer, status, name)
    assert {table: api.count(table) for table in tables} == before


async def test_an_idempotency_key_that_is_none_is_refused(api: Api, crm: httpx.AsyncClient) -> None:
    for key in (b"", b"with space", b"x" * 256, "ä".encode()):
        answer = await crm.post(URL, json=SALE, headers={b"Idempotency-Key": key})
        document = problem(answer, 422, "invalid-input")
        assert [error["field"].lower().replace("-", "_") for error in document["errors"]] == ["idempotency_key"]
    assert api.count("dispositions") == 0


async def test_compressed_bodies_are_refused(crm: httpx.AsyncClient) -> None:
    problem(await crm.post(URL, content=b"x", headers={"Content-Encoding": "gzip"}), 415, "unsupported-body")


async def test_a_body_that_is_too_large_is_refused_by_its_length(api: Api, crm: httpx.AsyncClient) -> None:
    problem(await crm.post(URL, json={**SALE, "comments": "x" * 70_000}), 413, "body-too-large")
    assert api.count("dispositions") == 0


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body without a length."""
    for part in parts:
        yield part


async def test_the_bytes_of_a_chunked_body_are_counted(api: Api, crm: httpx.AsyncClient) -> None:
    large = chunks(b'{"comments": "', *[b"x" * 8192] * 50, b'"}')
    problem(await crm.post(URL, content=large), 413, "body-too-large")
    assert api.count("dispositions") == 0
    small = chunks(b'{"account": "acme", "ucid": "1234567890123456", ', b'"did": "91", "agent_id": "a17", ')
    assert (await crm.post(URL, content=small)).status_code == 400
    whole = chunks(json.dumps(SALE).encode()[:20], json.dumps(SALE).encode()[20:])
    assert (await crm.post(URL, content=whole)).status_code == 202
    assert api.count("dispositions") == 1


@pytest.mark.parametrize("known", [True, False])
async def test_a_body_without_an_end_is_cut_off(api: Api, known: bool) -> None:
    client = await api.with_key(await api.key("submit") if known else None)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            yield b"x" * 65536
            sent += 65536

    with suppress(httpx.TransportError):  # what is cut off may not see the answer
        answer = await client.post(URL, content=endless())
        problem(answer, *((413, "body-too-large") if known else (401, "not-authenticated")))
    assert sent < 20_000_000  # what fits into the buffers of two sockets, and then some


async def test_a_body_that_does_not_arrive_in_time_is_given_up(api: Api) -> None:
    url = httpx.URL(await api.serve(body_timeout=timedelta(milliseconds=200)))
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = f"POST {URL} HTTP/1.1\r\nHost: wrapup\r\nX-API-Key: {await api.key('submit')}\r\nTransfer-Encoding: chunked"
    writer.write(f"{head}\r\n\r\n2\r\n{{}}\r\n".encode())
    async with asyncio.timeout(10):
        answer = await reader.read()  # to the end: the connection is closed, the rest is not waited for
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"type":"urn:wrapup:problem:slow-body"' in answer
    writer.close()
    assert api.count("dispositions") == 0
