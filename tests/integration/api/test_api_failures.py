"""``/v1/failures``: what there is to mend, seen and answered over HTTP."""

from __future__ import annotations

from uuid import uuid4

import httpx
from callers import SALE, Api

URL = "/v1/failures"


async def fail(api: Api, crm: httpx.AsyncClient, ucid: str, **fields: str) -> str:
    """A disposition that has failed for its agent."""
    posted: str = (await crm.post("/v1/dispositions", json={**SALE, "ucid": ucid, **fields})).json()["id"]
    statement = "UPDATE dispositions SET state = 'failed', cause = 'invalid_agent', finished_at = now() WHERE id = %s"
    api.sql(statement, posted)
    return posted


async def test_failures_are_listed_with_their_owner_and_the_next_step(api: Api, crm: httpx.AsyncClient) -> None:
    await fail(api, crm, "1", agent_id="x7")
    newest = await fail(api, crm, "2", agent_id="x7")
    await fail(api, crm, "3", agent_id="x8", account="globex")
    await api.services.accounts.hold("globex", actor="test", reason="maintenance")
    found = (await crm.get(URL)).json()
    assert (found["total"], [one["value"] for one in found["items"]]) == (2, ["x7", "x8"])
    first = found["items"][0]
    assert {name: first[name] for name in ("account", "cause", "thing", "count", "owner", "sources", "sample")} == {
        "account": "acme",
        "cause": "invalid_agent",
        "thing": "agent_id",
        "count": 2,
        "owner": "data",
        "sources": ["client:crm"],
        "sample": newest,
    }
    assert [(one["account"], one["waiting"]) for one in found["holds"]] == [("globex", 0)]
    assert (await crm.get(f"{URL}/{first['id']}")).json() == first
    few = (await crm.get(URL, params={"limit": 1})).json()
    assert (few["total"], len(few["items"])) == (2, 1)
    assert (await crm.get(URL, params={"cause": "expired"})).json()["items"] == []


async def test_a_failure_is_acknowledged_with_a_note_and_from_where_is_kept(
    api: Api, crm: httpx.AsyncClient, boss: httpx.AsyncClient
) -> None:
    await fail(api, crm, "1")
    (failure,) = (await crm.get(URL)).json()["items"]
    known = await boss.post(f"{URL}/{failure['id']}/acknowledge", json={"note": "Asha is at it"})
    assert known.status_code == 200
    assert (known.json()["acknowledged_by"], known.json()["note"]) == ("client:boss", "Asha is at it")
    assert (await crm.get(URL, params={"acknowledged": "false"})).json()["items"] == []
    told = api.sql("SELECT actor, reason, address FROM events WHERE action = 'failure acknowledged'")
    assert told == [("client:boss", "Asha is at it", "127.0.0.1")]
    assert (await boss.post(f"{URL}/{failure['id']}/reopen")).json()["acknowledged"] is False
    assert (await boss.post(f"{URL}/{failure['id']}/acknowledge")).json()["acknowledged"] is True
    await fail(api, crm, "2")
    assert (await crm.get(f"{URL}/{failure['id']}")).json()["acknowledged"] is False


async def test_a_failure_that_is_not_there_or_not_the_caller_s_is_not_found(api: Api, crm: httpx.AsyncClient) -> None:
    await fail(api, crm, "1", account="globex")
    (failure,) = (await crm.get(URL)).json()["items"]
    bound = await api.client("read", "operate", accounts=["acme"])
    for identity in (failure["id"], str(uuid4())):
        assert (await bound.get(f"{URL}/{identity}")).status_code == 404
        assert (await bound.post(f"{URL}/{identity}/acknowledge")).status_code == 404
    assert (await bound.get(URL)).json()["total"] == 0


async def test_a_parameter_that_there_is_not_is_refused_and_does_not_take_everything(crm: httpx.AsyncClient) -> None:
    for url, names in (
        ("/v1/failures", "account, cause, acknowledged, limit, format"),
        ("/v1/replays", "cursor, limit"),
        ("/v1/replays/01a21685-f274-7072-b049-cef7248b938c", "result, cursor, limit"),
    ):
        answer = await crm.get(url, params={"acount": "acme", "limit": 1})
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error == {"field": "acount", "message": f"acount is no parameter here; there are: {names}."}
