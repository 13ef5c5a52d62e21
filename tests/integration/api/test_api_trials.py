"""``/v1/accounts/{customer}/test``: what was found out, as the document has it, and the apiKey in no answer."""

from __future__ import annotations

import httpx
from callers import CANARY, Api
from openapi_schema_validator import OAS31Validator

from app.sandbox import Sandbox

URL = "/v1/accounts/acme/test"


async def put_account(api: Api, boss: httpx.AsyncClient, sandbox: Sandbox, flavour: str) -> None:
    sandbox.account("acme", api_key=CANARY)
    body = {"api_key": CANARY, "base_url": sandbox.url, "api": flavour}
    assert (await boss.put("/v1/accounts/acme", json=body)).status_code == 200


async def test_an_account_of_each_flavour_is_tried(api: Api, boss: httpx.AsyncClient) -> None:
    document = (await boss.get("/openapi.json")).json()
    schema = {"$ref": "#/components/schemas/TrialOut", "components": document["components"]}
    async with Sandbox(api_key="k") as sandbox:
        for flavour in ("v3-query", "v2-json-key", "v2-json-token"):
            await put_account(api, boss, sandbox, flavour)
            answer = await boss.post(URL, json={"reason": "after the move"})
            assert answer.status_code == 200
            trial = answer.json()
            assert [error.message for error in OAS31Validator(schema).iter_errors(trial)] == []
            assert (trial["customer"], trial["api"], trial["ok"]) == ("acme", flavour, True)
            assert "failed" not in {check["result"] for check in trial["checks"]}
            assert CANARY not in answer.text
    events = api.sql("SELECT actor, reason FROM events WHERE action = 'account tested'")
    assert len(events) == 3
    assert {actor for actor, _ in events} == {"client:boss"}
    assert all(reason.startswith("after the move (") for _, reason in events)


async def test_what_failed_is_an_answer_and_no_error(api: Api, boss: httpx.AsyncClient) -> None:
    async with Sandbox(api_key="k") as sandbox:
        await put_account(api, boss, sandbox, "v2-json-key")
        sandbox.account("acme", api_key="another")
        answer = await boss.post(URL)
    assert (answer.status_code, answer.json()["ok"]) == (200, False)
    [failed] = [check for check in answer.json()["checks"] if check["result"] == "failed"]
    assert failed["name"] == "credentials"
    assert "--api-key-stdin" in failed["todo"]


async def test_it_needs_the_scope_and_an_account_of_the_callers_own(
    api: Api, boss: httpx.AsyncClient, crm: httpx.AsyncClient
) -> None:
    assert (await crm.post(URL)).status_code == 403
    assert (await (await api.client("operate", accounts=["globex"])).post(URL)).status_code == 404
    assert (await boss.post("/v1/accounts/nobody/test")).status_code == 404
    assert (await boss.post(URL, json={"reason": 5})).status_code == 422
