"""``/v1/replays`` and ``/resend``: planned, confirmed, watched; what is wrong is named and nothing starts."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest
from callers import SALE, Api

URL = "/v1/replays"
FAILED = {"state": "failed"}


async def failed(api: Api, client: httpx.AsyncClient, n: int = 3, **changes: Any) -> list[str]:
    """Dispositions that failed, past all delivery."""
    ids = []
    for number in range(n):
        posted = await client.post("/v1/dispositions", json={**SALE, "ucid": str(1000 + number), **changes})
        ids.append(posted.json()["id"])
    api.sql(
        "UPDATE dispositions SET state = 'failed', cause = 'invalid_agent', finished_at = now() WHERE id = ANY(%s)", ids
    )
    return ids


async def test_a_replay_is_planned_drafted_started_watched_and_cancelled(api: Api, boss: httpx.AsyncClient) -> None:
    ids = await failed(api, boss)
    asked = {"filter": {"cause": "invalid_agent", "from": "1h"}, "rate_per_second": 5, "reason": "agent added"}
    plan = (await boss.post(URL, json={**asked, "dry_run": True})).json()
    assert (plan["eligible"], plan["left_out"], sorted(plan["samples"]["eligible"])) == (3, {}, sorted(ids))
    assert api.count("replays") == 0
    drafted = await boss.post(URL, json={**asked, "start": False})
    assert (drafted.status_code, drafted.json()["state"], drafted.json()["total"]) == (202, "draft", 3)
    where = drafted.headers["location"]
    assert (await boss.post(f"{where}/start")).json()["state"] == "running"
    shown = (await boss.get(where, params={"limit": 2})).json()
    assert [(item["position"], item["disposition_id"], item["result"]) for item in shown["items"]] == [
        (1, ids[0], "waiting"),
        (2, ids[1], "waiting"),
    ]
    rest = (await boss.get(where, params={"cursor": shown["next"]})).json()
    assert ([item["disposition_id"] for item in rest["items"]], rest["next"]) == ([ids[2]], None)
    assert (await boss.get(where, params={"result": "sent"})).json()["items"] == []
    assert (await boss.post(f"{where}/cancel", json={"reason": "enough"})).json()["state"] == "cancelled"
    assert (await boss.post(f"{where}/cancel")).status_code == 409
    assert [one["id"] for one in (await boss.get(URL)).json()["items"]] == [shown["id"]]
    told = api.sql("SELECT action, reason FROM events WHERE subject = %s ORDER BY id", f"replay:{shown['id']}")
    assert [action for action, _ in told] == ["replay drafted", "replay started", "replay cancelled"]
    assert told[1][1].endswith("agent added")


async def test_a_relative_time_is_frozen_when_the_replay_is_made(boss: httpx.AsyncClient) -> None:
    made = (await boss.post(URL, json={"filter": {"state": "failed", "from": "-24h"}})).json()
    assert made["filter"]["from"].endswith("Z")
    assert (await boss.get(f"{URL}/{made['id']}")).json()["filter"] == made["filter"]


async def test_an_id_that_there_is_not_takes_nothing(api: Api, boss: httpx.AsyncClient) -> None:
    await failed(api, boss)
    plan = (await boss.post(URL, json={"filter": {"id": str(uuid4())}, "dry_run": True})).json()
    assert (plan["eligible"], plan["left_out"]) == (0, {})
    assert (await boss.post(URL, json={"filter": {"ucid": "4711"}})).json()["total"] == 0


async def test_a_plan_tells_what_is_beyond_its_limit(api: Api, boss: httpx.AsyncClient) -> None:
    await failed(api, boss)
    planned = await boss.post(URL, json={"filter": FAILED, "max_items": 2, "dry_run": True})
    assert planned.status_code == 200, planned.text
    plan = planned.json()
    assert (plan["eligible"], plan["left_out"]) == (2, {"over_limit": 1})
    assert plan["meanings"] == {"over_limit": "there are more than max_items"}


async def test_the_same_key_gives_the_same_replay(api: Api, boss: httpx.AsyncClient) -> None:
    await failed(api, boss)
    body, headers = {"filter": {"state": "failed", "from": "24h"}}, {"Idempotency-Key": "nightly-1"}
    made, again = [await boss.post(URL, json=body, headers=headers) for _ in range(2)]
    assert (made.status_code, again.status_code) == (202, 200)
    assert made.json() == again.json()
    other = await boss.post(URL, json={"filter": {"state": "failed"}}, headers=headers)
    assert (other.status_code, other.json()["type"]) == (422, "urn:wrapup:problem:idempotency-key-reused")
    assert (await boss.post(URL, json=body, headers={"Idempotency-Key": "a b"})).status_code == 422
    assert api.count("replays") == 1


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["filter"]),
        ({"filter": {}}, ["filter"]),
        ({"filter": None}, ["filter"]),
        ({"filter": "failed"}, ["filter"]),
        ({"filter": {"states": "failed", "cause": "?"}}, ["filter.states", "filter.cause"]),
        ({"filter": {"agent_id": []}}, ["filter.agent_id"]),
        ({"filter": {"from": "1h", "to": "2h"}}, ["filter.to"]),
        ({"filter": FAILED, "rate_per_second": 0}, ["rate_per_second"]),
        ({"filter": FAILED, "rate_per_second": 1e-300}, ["rate_per_second"]),
        ({"filter": FAILED, "rate_per_second": "5"}, ["rate_per_second"]),
        (
            {"filter": FAILED, "max_items": 0, "stop_share": 2, "stop_after": 1.5},
            ["max_items", "stop_share", "stop_after"],
        ),
        ({"filter": FAILED, "extend_max_age": "yes", "dry_run": 1}, ["dry_run", "extend_max_age"]),
        ({"filter": FAILED, "action": "delete", "rate": 5}, ["action", "rate"]),
        ({"filter": FAILED, "action": "resend"}, ["map"]),
        ({"filter": FAILED, "map": {"agent_id": {"x7": "a17"}}}, ["map"]),
        ({"filter": FAILED, "action": "resend", "map": {"ucid": {"1": "2"}}}, ["map.ucid"]),
        ({"filter": FAILED, "action": "resend", "map": {"agent_id": {"x7": ""}}}, ["map.agent_id.x7"]),
        (
            {"filter": FAILED, "action": "resend", "map": {"did": {"1": "x"}, "agent_id": "a"}},
            ["map.did.1", "map.agent_id"],
        ),
        ({"filter": FAILED, "reason": "x" * 501}, ["reason"]),
        ({"filter": {"state": ["failed", "queued"]}, "action": "cancel"}, ["reason"]),
    ],
    ids=str,
)
async def test_what_is_wrong_is_named_and_nothing_starts(
    api: Api, boss: httpx.AsyncClient, body: dict[str, Any], fields: list[str]
) -> None:
    for number in range(2):
        await boss.post("/v1/dispositions", json={**SALE, "ucid": str(number)})
    answer = await boss.post(URL, json=body)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == fields
    assert api.count("replays") == 0


async def test_a_bound_key_replays_its_own_only(api: Api, boss: httpx.AsyncClient) -> None:
    await failed(api, boss, 2)
    bound = await api.client("operate", "read", accounts=["globex"])
    plan = (await bound.post(URL, json={"filter": FAILED, "dry_run": True})).json()
    assert (plan["eligible"], plan["samples"]) == (0, {})
    foreign = (await boss.post(URL, json={"filter": FAILED})).json()["id"]
    assert (await bound.get(f"{URL}/{foreign}")).status_code == 404
    assert (await bound.get(URL)).json()["items"] == []


async def test_a_corrected_one_takes_the_place_of_a_failed_one(api: Api, boss: httpx.AsyncClient) -> None:
    [old] = await failed(api, boss, 1, comments="called twice", reference="deal-7", pause_after_dispose=True)
    answer = await boss.post(f"/v1/dispositions/{old}/resend", json={"agentID": "b18", "reason": "typo"})
    assert answer.status_code == 201, answer.text
    new = answer.json()
    assert answer.headers["location"] == f"/v1/dispositions/{new['id']}"
    assert (new["state"], new["agent_id"], new["comments"], new["reference"]) == (
        "queued",
        "b18",
        "called twice",
        "deal-7",
    )
    assert (new["resent_from"], new["pause_after_dispose"]) == (old, False)
    was = (await boss.get(f"/v1/dispositions/{old}")).json()
    assert (was["state"], was["agent_id"], was["resent_as"]) == ("failed", "a17", new["id"])
    told = was["events"][-1]
    assert (told["actor"], told["action"], told["reason"]) == ("client:boss", "resent", f"as {new['id']}: typo")
    assert (await boss.get("/v1/failures")).json()["items"] == []  # it is failed, and needs no mending
    again = await boss.post(f"/v1/dispositions/{old}/resend", json={"agent_id": "c19"})
    assert again.status_code == 409
    assert new["id"] in again.json()["detail"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["body"]),
        ({"account": "globex"}, ["account"]),
        ({"ucid": "x", "agent": "b18"}, ["ucid", "agent"]),
        ({"agent_id": None}, ["agent_id"]),
        ({"agent_id": "b18", "reason": 5}, ["reason"]),
    ],
    ids=str,
)
async def test_a_wrong_correction_is_refused(
    api: Api, boss: httpx.AsyncClient, body: dict[str, Any], fields: list[str]
) -> None:
    [old] = await failed(api, boss, 1)
    answer = await boss.post(f"/v1/dispositions/{old}/resend", json=body)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == fields
    assert api.count("dispositions") == 1


async def test_a_wrong_ucid_can_be_corrected_and_what_waits_can_not(api: Api, boss: httpx.AsyncClient) -> None:
    [old] = await failed(api, boss, 1)
    new = (await boss.post(f"/v1/dispositions/{old}/resend", json={"ucid": "77"})).json()
    assert (new["ucid"], new["state"], new["resent_from"]) == ("77", "queued", old)
    waiting = await boss.post(f"/v1/dispositions/{new['id']}/resend", json={"agent_id": "b18"})
    assert (waiting.status_code, "Cancel it" in waiting.json()["detail"]) == (409, True)
