"""The stream of changes: live, resumed, for one's own accounts, and over at once when the process stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import orjson
import psycopg
from callers import SALE, Api
from sqlalchemy import event

from app.services.keys import OPERATOR, Caller
from app.services.stream import Change, Missed, Stream
from tests.serving import serving

URL = "/v1/dispositions"

Event = tuple[int, str, dict[str, Any]]


async def post(client: httpx.AsyncClient, number: int, **changes: Any) -> str:
    identity: str = (await client.post(URL, json={**SALE, "ucid": str(number), **changes})).json()["id"]
    return identity


@asynccontextmanager
async def watching(client: httpx.AsyncClient, after: int | None = None) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of a stream."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    async with client.stream("GET", "/v1/stream", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert [await anext(lines), await anext(lines)] == ["retry: 2000", ""]
        yield events(lines)


async def events(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif fields.keys() >= {"id", "event", "data"}:
            yield int(fields["id"]), fields["event"], orjson.loads(fields["data"])
            fields = {}


async def take(stream: AsyncIterator[Event], number: int = 1) -> list[Event]:
    async with asyncio.timeout(10):
        return [await anext(stream) for _ in range(number)]


async def test_a_change_is_told_as_it_happens(api: Api, crm: httpx.AsyncClient, boss: httpx.AsyncClient) -> None:
    await post(crm, 1)
    async with watching(crm) as stream:
        made = await post(crm, 2)
        [(number, kind, first)] = await take(stream)
        assert kind == "change"
        assert {name: first[name] for name in ("account", "disposition", "action", "from", "to", "actor")} == {
            "account": "acme",
            "disposition": made,
            "action": "accepted",
            "from": None,
            "to": "queued",
            "actor": "client:crm",
        }
        await boss.post(f"{URL}/{made}/cancel", json={"reason": "wrong"})
        await api.services.accounts.hold("acme", actor="test")
        [(then, _, second), (_, _, third)] = await take(stream, 2)
        assert then > number
        assert (second["from"], second["to"], second["reason"]) == ("queued", "cancelled", "wrong")
        assert (third["action"], third["disposition"]) == ("account held", None)


async def test_who_comes_back_goes_on_where_it_was_also_at_another_process(api: Api, crm: httpx.AsyncClient) -> None:
    async with watching(crm) as stream:
        await post(crm, 1)
        [(number, _, _)] = await take(stream)
    while_away = [await post(crm, 2), await post(crm, 3)]
    async with watching(crm, number) as stream:
        assert [data["disposition"] for _, _, data in await take(stream, 2)] == while_away
        async with watching(crm, number) as other:  # from memory
            assert [data["disposition"] for _, _, data in await take(other, 2)] == while_away
    async with (
        serving(api.settings) as url,
        httpx.AsyncClient(base_url=url, headers=crm.headers) as restarted,
        watching(restarted, number) as stream,
    ):
        newest = await post(crm, 4)
        assert [data["disposition"] for _, _, data in await take(stream, 3)] == [*while_away, newest]


async def test_what_was_there_before_is_told_to_nobody_anew_though_a_number_before_it_is_missing(
    api: Api, crm: httpx.AsyncClient
) -> None:
    """A number that was taken and never written holds up what is behind it, until a new process is sure of that."""
    await post(crm, 1)
    api.sql("SELECT nextval(pg_get_serial_sequence('events', 'id'))")
    await post(crm, 2)
    [(newest,)] = api.sql("SELECT max(id) FROM events")
    for after in (None, newest):
        async with (
            serving(api.settings) as url,
            httpx.AsyncClient(base_url=url, headers=crm.headers) as restarted,
            watching(restarted, after) as stream,
        ):
            made = await post(crm, 3)
            [(newest, _, data)] = await take(stream)
            assert data["disposition"] == made, after
            await restarted.post(f"{URL}/{made}/cancel", json={})


async def test_who_was_away_for_too_long_is_told_so_and_goes_on(api: Api, crm: httpx.AsyncClient) -> None:
    api.sql(
        "INSERT INTO events (actor, action, account_id, disposition_id) "
        "SELECT 'test', 'accepted', 1, gen_random_uuid() FROM generate_series(1, 3000)"
    )
    async with watching(crm, 1) as stream:
        [(number, kind, _)] = await take(stream)
        assert kind == "missed"
        await post(crm, 1)
        [(then, kind, _)] = await take(stream)
        assert (kind, then > number) == ("change", True)


async def test_a_key_sees_the_changes_of_its_own_accounts_only(api: Api, crm: httpx.AsyncClient) -> None:
    bound = await api.client("read", accounts=["globex"])
    async with watching(bound) as stream:
        await post(crm, 1)
        mine = await post(crm, 2, account="globex")
        await api.services.keys.create("other", ["read"])
        assert [data["disposition"] for _, _, data in await take(stream)] == [mine]


async def test_a_wrong_place_to_go_on_is_refused(crm: httpx.AsyncClient) -> None:
    answer = await crm.get("/v1/stream", headers={"Last-Event-ID": "-1"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Last-Event-ID")


async def test_a_process_that_stops_ends_its_streams_and_does_not_wait_for_them(
    api: Api, crm: httpx.AsyncClient
) -> None:
    server = AsyncExitStack()
    url = await server.enter_async_context(serving(api.settings))
    async with httpx.AsyncClient(base_url=url, headers=crm.headers) as client, watching(client) as stream:
        begun = time.monotonic()
        stopping = asyncio.create_task(server.aclose())
        assert [one async for one in stream] == []  # it ends, and is not cut off
        await stopping
    assert time.monotonic() - begun < 5


def opened(api: Api) -> Stream:
    return Stream(api.services.engine, every=timedelta(milliseconds=10))


async def test_a_line_that_is_committed_late_is_told_all_the_same(api: Api, crm: httpx.AsyncClient) -> None:
    """Its number is lower than one that was told before."""
    await post(crm, 1)
    insert = (
        "INSERT INTO events (actor, action, account_id, disposition_id, reason) VALUES ('test', 'retried', 1, %s, %s)"
    )
    made = (await post(crm, 2),)
    stream = opened(api)
    with psycopg.connect(api.settings.require_database_url()) as slow:
        slow.execute(insert, (*made, "begun first"))
        async with stream.watch(OPERATOR, None) as viewer:
            api.sql(insert, *made, "committed first")
            assert await viewer.take(0.3) == []
            slow.commit()
            told = await viewer.take(5) or await viewer.take(5)
            while len(told) < 2:
                told += await viewer.take(5)
    reasons = [one.fields["reason"] for one in told if isinstance(one, Change)]
    assert reasons == ["begun first", "committed first"]
    await stream.aclose()


async def test_a_further_viewer_costs_the_database_nothing(api: Api) -> None:
    stream = Stream(api.services.engine, every=timedelta(hours=1))
    statements: list[str] = []

    @event.listens_for(api.services.engine.sync_engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    async with AsyncExitStack() as watched:
        await watched.enter_async_context(stream.watch(OPERATOR, None))
        assert statements
        statements.clear()
        for _ in range(40):
            await watched.enter_async_context(stream.watch(OPERATOR, None))
        assert statements == []
    async with stream.watch(OPERATOR, None):
        assert statements, "nobody had watched, and it was read all the same"


async def test_a_slow_viewer_is_told_that_it_missed_something_and_takes_no_memory(api: Api) -> None:
    stream = opened(api)
    insert = (
        "INSERT INTO events (actor, action, account_id, disposition_id) "
        "SELECT 'test', 'accepted', 1, gen_random_uuid() FROM generate_series(1, 1500)"
    )
    mine = Caller("client:other", frozenset({"read"}), frozenset({"globex"}))
    async with (
        stream.watch(OPERATOR, None) as slow,
        stream.watch(OPERATOR, None) as quick,
        stream.watch(mine, None) as own,
    ):
        for _ in range(2):
            api.sql(insert)
            told = 0
            while told < 1500:
                told += len(await quick.take(5))
        missed = await slow.take(5)
        assert any(isinstance(one, Missed) for one in missed)
        assert len(missed) < 2000
        assert await own.take(0.01) == []
    await stream.aclose()
