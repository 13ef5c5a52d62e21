"""Lists as files: CSV that a spreadsheet shows as it was stored, and JSON lines; all of it, in pieces."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx
import orjson
import pytest
from callers import SALE, Api

from app.domain.filters import Filter

URL = "/v1/dispositions"


async def post(client: httpx.AsyncClient, number: int, **changes: Any) -> str:
    identity: str = (await client.post(URL, json={**SALE, "ucid": str(10**15 + number), **changes})).json()["id"]
    return identity


def rows(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


async def test_a_list_comes_as_csv_with_numbers_that_stay_what_they_are(api: Api, crm: httpx.AsyncClient) -> None:
    await post(crm, 1, comments="=HYPERLINK(1)", agent_id="007", reference='said "no", twice')
    answer = await crm.get(URL, params={"format": "csv"})
    assert answer.headers["content-disposition"].startswith('attachment; filename="dispositions-20')
    (row,) = rows(answer)
    assert row["ucid"] == '="1000000000000001"'
    assert row["did"] == '="918012345678"'
    assert (row["agent_id"], row["comments"], row["reference"]) == ('="007"', "'=HYPERLINK(1)", 'said "no", twice')
    assert (row["state"], row["attempt_count"], row["pause_after_dispose"], row["cause"]) == (
        "queued",
        "0",
        "false",
        "",
    )
    assert row["created_at"].endswith("Z")


async def test_json_lines_are_the_list_as_it_is_read_page_by_page(crm: httpx.AsyncClient) -> None:
    for number in range(5):
        await post(crm, number, agent_id="b18" if number % 2 else "a17")
    answer = await crm.get(URL, params={"format": "jsonl", "agent_id": "a17"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [orjson.loads(line) for line in answer.content.splitlines()]
    assert lines == (await crm.get(URL, params={"agent_id": "a17"})).json()["items"]
    few = await crm.get(URL, params={"format": "jsonl", "agent_id": "a17", "limit": 2, "cursor": lines[0]["id"]})
    assert [orjson.loads(line)["id"] for line in few.content.splitlines()] == [one["id"] for one in lines[1:]]


async def test_an_empty_list_is_a_file_as_well(crm: httpx.AsyncClient) -> None:
    assert rows(await crm.get(URL, params={"format": "csv", "q": "nothing"})) == []
    assert (await crm.get(URL, params={"format": "jsonl", "q": "nothing"})).content == b""


async def test_the_trail_and_the_failures_come_as_files(api: Api, crm: httpx.AsyncClient) -> None:
    failed = await post(crm, 1, agent_id="x7")
    api.sql("UPDATE dispositions SET state = 'failed', cause = 'invalid_agent' WHERE id = %s", failed)
    (line,) = rows(await crm.get("/v1/audit", params={"format": "csv", "disposition": failed}))
    assert (line["actor"], line["action"], line["from"], line["to"]) == ("client:crm", "accepted", "", "queued")
    (failure,) = rows(await crm.get("/v1/failures", params={"format": "csv"}))
    assert (failure["value"], failure["count"], failure["sources"]) == ("x7", "1", "client:crm")
    lines = (await crm.get("/v1/audit", params={"format": "jsonl", "disposition": failed})).content.splitlines()
    assert [orjson.loads(one)["action"] for one in lines] == ["accepted"]


async def test_a_file_has_only_what_is_the_caller_s(api: Api, crm: httpx.AsyncClient) -> None:
    await post(crm, 1, account="globex")
    bound = await api.client("read", accounts=["acme"])
    for path in (URL, "/v1/audit", "/v1/failures"):
        assert "globex" not in (await bound.get(path, params={"format": "jsonl"})).text


@pytest.mark.parametrize("path", [URL, "/v1/audit", "/v1/failures"])
async def test_another_format_is_refused(crm: httpx.AsyncClient, path: str) -> None:
    answer = await crm.get(path, params={"format": "xls"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["format"]


async def test_a_long_list_comes_whole_and_holds_no_transaction_open_meanwhile(
    api: Api, crm: httpx.AsyncClient
) -> None:
    for first in range(0, 3000, 1000):
        batch = [{**SALE, "ucid": str(10**15 + first + number)} for number in range(1000)]
        assert (await crm.post(f"{URL}/batch", json={"dispositions": batch})).status_code == 200
    answer = await crm.get(URL, params={"format": "jsonl"})
    seen = [orjson.loads(line)["id"] for line in answer.content.splitlines()]
    assert len(set(seen)) == len(seen) == 3000
    assert seen == sorted(seen, reverse=True)
    idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND starts_with(state, 'idle in')"
    number = 0
    async for _ in api.services.reports.all(Filter()):
        number += 1
        if number % 700 == 0:
            assert api.sql(idle) == [(0,)]
    assert number == 3000
