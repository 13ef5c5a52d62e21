"""Looking dispositions up: one by one, filtered, page by page, and counted."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest
from callers import SALE, Api

URL = "/v1/dispositions"

# What is told apart by a filter: a disposition for each, and one that is like none of them.
OTHERS: dict[str, dict[str, str]] = {
    "account": {"account": "globex"},
    "ucid": {"ucid": "99"},
    "agent_id": {"agent_id": "b18"},
    "did": {"did": "4711"},
    "disposition": {"disposition": "No Sale"},
    "reference": {"reference": "deal-7"},
}


async def post(client: httpx.AsyncClient, **changes: Any) -> str:
    answer = await client.post(URL, json={**SALE, **changes})
    assert answer.status_code == 202, answer.text
    identity: str = answer.json()["id"]
    return identity


async def listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """The ids of a list of one page."""
    answer = await client.get(URL, params=query)
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert page["next"] is None
    return [item["id"] for item in page["items"]]


async def test_each_filter_finds_its_own_and_several_values_are_alternatives(api: Api, crm: httpx.AsyncClient) -> None:
    plain = await post(crm, ucid="1")
    ids = {
        name: await post(crm, **{"ucid": str(100 + number), **change})
        for number, (name, change) in enumerate(OTHERS.items())
    }
    for name, change in OTHERS.items():
        assert await listed(crm, **change) == [ids[name]], name
    assert await listed(crm, ucid=["99", "1"]) == [ids["ucid"], plain]
    assert await listed(crm, ucid="99", account="globex") == []
    assert await listed(crm) == [*reversed(ids.values()), plain]
    assert await listed(crm, source="webhook") == []

    api.sql("UPDATE dispositions SET state = 'failed', cause = 'invalid_agent' WHERE id = %s", plain)
    assert await listed(crm, state="failed") == [plain]
    assert await listed(crm, cause="invalid_agent") == [plain]
    assert await listed(crm, state="sending") == []
    await api.services.accounts.hold("globex", actor="test")
    assert await listed(crm, state="held") == [ids["account"]]
    assert set(await listed(crm, state=["held", "failed"])) == {ids["account"], plain}
    assert ids["account"] not in await listed(crm, state="queued")


async def test_a_list_can_be_cut_by_time(api: Api, crm: httpx.AsyncClient) -> None:
    ids = []
    for hour in range(3):
        identity = await post(crm, ucid=str(hour))
        # An id begins with the time at which it was made.
        moved = api.sql(
            "UPDATE dispositions SET created_at = t.at, id = uuidv7(t.at - clock_timestamp()) "
            "FROM (SELECT make_timestamptz(2026, 11, 1, %s, 0, 0) AS at) AS t WHERE id = %s RETURNING id::text",
            hour,
            identity,
        )
        ids.append(moved[0][0])
    assert await listed(crm, **{"from": "2026-11-01T01:00:00Z"}) == [ids[2], ids[1]]
    assert await listed(crm, to="2026-11-01T06:30:00+05:30") == [ids[0]]
    assert await listed(crm, **{"from": "1h"}) == []
    assert await listed(crm, **{"from": "2026-11-01T01:00:00Z", "to": "2026-11-01T02:00:00Z"}) == [ids[1]]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"state": "lost", "limit": "0"}, ["state", "limit"]),
        ({"from": "yesterday"}, ["from"]),
        ({"from": "0", "to": "2026-11-01T00:00:00"}, ["from", "to"]),
        ({"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z"}, ["to"]),
        ({"cursor": "x"}, ["cursor"]),
        ({"limit": "1001"}, ["limit"]),
        ({"account": "a\0b", "reference": "x" * 201}, ["account", "reference"]),
        ({"agent": "x7", "limit": "5"}, ["agent"]),
        ({"account": "", "cause": "no_repyl"}, ["account", "cause"]),
    ],
    ids=str,
)
async def test_what_is_wrong_with_a_filter_is_said(
    crm: httpx.AsyncClient, query: dict[str, str], fields: list[str]
) -> None:
    answer = await crm.get(URL, params=query)
    assert answer.status_code == 422, answer.text
    document = answer.json()
    assert document["type"] == "urn:wrapup:problem:invalid-input"
    assert [error["field"] for error in document["errors"]] == fields
    assert all(error["field"] in error["message"] or "time" in error["message"] for error in document["errors"])


async def test_paging_goes_through_all_once_whatever_comes_meanwhile(crm: httpx.AsyncClient) -> None:
    ids = [await post(crm, ucid=str(number)) for number in range(7)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    pages = 0
    while True:
        page = (await crm.get(URL, params=query)).json()
        seen += [item["id"] for item in page["items"]]
        pages += 1
        await post(crm, ucid=str(100 + pages))
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == ids[::-1]
    assert pages == 3


async def test_a_list_is_read_back_to_its_beginning_and_what_is_new_is_found_there(crm: httpx.AsyncClient) -> None:
    ids = [await post(crm, ucid=str(number)) for number in range(7)]
    first = (await crm.get(URL, params={"limit": 3})).json()
    assert (first["previous"], first["total"]) == (None, 7)
    second = (await crm.get(URL, params={"limit": 3, "cursor": first["next"]})).json()
    third = (await crm.get(URL, params={"limit": 3, "cursor": second["next"]})).json()
    assert third["next"] is None
    newest = await post(crm, ucid="100")
    back = (await crm.get(URL, params={"limit": 3, "cursor": third["previous"]})).json()
    assert [item["id"] for item in back["items"]] == ids[3:0:-1]
    assert back["items"] == second["items"]
    back = (await crm.get(URL, params={"limit": 3, "cursor": back["previous"]})).json()
    assert [item["id"] for item in back["items"]] == ids[6:3:-1]
    assert back["next"] == first["next"]
    back = (await crm.get(URL, params={"limit": 3, "cursor": back["previous"]})).json()
    assert [item["id"] for item in back["items"]] == [newest]
    assert back["previous"] is None
    again = (await crm.get(URL, params={"limit": 3, "cursor": f"{newest}.newer"})).json()
    assert (again["items"], again["previous"]) == ([], None)
    assert (await crm.get(URL, params={"limit": 1, "cursor": again["next"]})).json()["items"][0]["id"] == newest


async def test_a_total_is_told_where_it_is_known_without_counting(api: Api, crm: httpx.AsyncClient) -> None:
    failed = await post(crm, ucid="1")
    for number in range(2, 5):
        await post(crm, ucid=str(number), account="globex")
    api.sql("UPDATE dispositions SET state = 'failed', cause = 'invalid_agent' WHERE id = %s", failed)
    await api.services.accounts.hold("globex", actor="test")

    async def total(**query: Any) -> int | None:
        found: int | None = (await crm.get(URL, params={"limit": 1, **query})).json()["total"]
        return found

    assert [await total(), await total(account="globex"), await total(state="held")] == [4, 3, 3]
    assert [await total(state="queued"), await total(cause="invalid_agent"), await total(state="failed")] == [0, 1, 1]
    assert [await total(agent_id="a17"), await total(q="a17"), await total(to="1h")] == [None, None, None]
    bound = await api.client("read", accounts=["acme"])
    assert (await bound.get(URL)).json()["total"] == 1


async def test_a_search_finds_by_whatever_the_text_may_be(api: Api, crm: httpx.AsyncClient) -> None:
    plain = await post(crm, ucid="1")
    ids = {
        name: await post(crm, **{"ucid": str(100 + number), **change})
        for number, (name, change) in enumerate(OTHERS.items())
        if name != "account"
    }
    for name in ids:
        assert await listed(crm, q=OTHERS[name][name]) == [ids[name]], name
    assert await listed(crm, q=plain) == [plain]
    assert await listed(crm, q="+4711") == [ids["did"]]
    assert await listed(crm, q="b18", disposition="No Sale") == []
    assert await listed(crm, q="nothing like it") == []

    api.sql(
        "INSERT INTO attempts (id, disposition_id, account_id, number, epoch, worker, started_at, reply_details) "
        "SELECT %s, id, account_id, 1, 1, '', now(), 'Campaign 100%% is_closed' FROM dispositions WHERE id = %s",
        attempt := uuid4(),
        plain,
    )
    assert await listed(crm, q=str(attempt)) == [plain]
    for words in ("campaign", "100% IS", "is_closed"):
        assert await listed(crm, q=words) == [plain], words
    assert await listed(crm, q="isxclosed") == []
    api.sql("UPDATE dispositions SET state = 'failed', cause = 'refused' WHERE id = %s", plain)
    api.sql("UPDATE attempts SET id = '00000000-0000-0000-0000-000000000001'")
    for words in ("campaign", "campaign 7%", "refused"):
        assert await listed(crm, q=words) == [plain], words
    (failure,) = (await crm.get("/v1/failures")).json()["items"]
    assert await listed(crm, failure=failure["id"]) == [plain]
    assert await listed(crm, failure=str(uuid4())) == []
    bound = await api.client("read", accounts=["globex"])
    for query in ({"q": "campaign"}, {"q": plain}, {"q": "1"}, {"failure": failure["id"]}):
        assert await listed(bound, **query) == [], query


async def test_a_page_that_is_exactly_full_is_the_last(crm: httpx.AsyncClient) -> None:
    for number in range(3):
        await post(crm, ucid=str(number))
    page = (await crm.get(URL, params={"limit": 3})).json()
    assert (len(page["items"]), page["next"]) == (3, None)


async def test_one_disposition_is_shown_whole(crm: httpx.AsyncClient) -> None:
    identity = await post(crm, reference="deal-7", comments="नमस्ते")
    shown = (await crm.get(f"{URL}/{identity}")).json()
    times = {name: shown.pop(name) for name in ("created_at", "expires_at")}
    assert all(time.endswith("Z") for time in times.values())
    (event,) = shown.pop("events")
    assert event == {
        "at": times["created_at"],
        "actor": "client:crm",
        "action": "accepted",
        "from": None,
        "to": "queued",
        "reason": None,
    }
    assert shown == {
        **SALE,
        "id": identity,
        "comments": "नमस्ते",
        "reference": "deal-7",
        "state": "queued",
        "pause_after_dispose": False,
        "attempt_count": 0,
        "attempts": [],
        **dict.fromkeys(
            ("callback_time", "callback_time_zone", "pause_reason", "source", "occurred_at", "outcome", "cause")
        ),
        **dict.fromkeys(("next_attempt_at", "finished_at", "superseded_by", "resent_from", "resent_as", "replay_id")),
    }


async def test_what_belongs_to_a_foreign_account_is_not_there(api: Api, crm: httpx.AsyncClient) -> None:
    mine, foreign = await post(crm, ucid="1"), await post(crm, ucid="2", account="globex")
    bound = await api.client("read", accounts=["acme"])
    assert (await bound.get(f"{URL}/{mine}")).status_code == 200
    answers = [await bound.get(f"{URL}/{identity}") for identity in (foreign, str(uuid4()), "no-id-at-all")]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert {answer.json()["type"] for answer in answers} == {"urn:wrapup:problem:not-found"}
    assert await listed(bound) == [mine]
    assert await listed(bound, account="globex") == []
    stats = (await bound.get("/v1/stats")).json()
    assert list(stats["accounts"]) == ["acme"]
    assert stats["states"]["queued"] == 1


async def test_stats_count_by_state_cause_and_account_as_a_hold_shows_them(api: Api, crm: httpx.AsyncClient) -> None:
    failed = await post(crm, ucid="1")
    await post(crm, ucid="2")
    await post(crm, ucid="3", account="globex")
    api.sql("UPDATE dispositions SET state = 'failed', cause = 'invalid_agent' WHERE id = %s", failed)
    await api.services.accounts.hold("globex", actor="test")
    stats = (await crm.get("/v1/stats")).json()
    assert {state: n for state, n in stats["states"].items() if n} == {"queued": 1, "failed": 1, "held": 1}
    assert stats["causes"] == {"invalid_agent": 1}
    assert stats["accounts"] == {"acme": {"failed": 1, "queued": 1}, "globex": {"held": 1}}
    assert stats["oldest_due_seconds"] >= 0
    assert stats["at"].endswith("Z")
