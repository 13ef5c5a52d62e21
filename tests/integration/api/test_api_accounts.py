"""``/v1/accounts``: set up, changed, held, released; and the apiKey in no answer."""

from __future__ import annotations

import httpx
import pytest
from callers import CANARY, Api

URL = "/v1/accounts"


async def test_an_account_is_made_changed_and_shown_without_its_key(api: Api, boss: httpx.AsyncClient) -> None:
    made = await boss.put(f"{URL}/initech", json={"api_key": CANARY, "rate_per_second": 20})
    assert made.status_code == 200
    assert (made.json()["customer"], made.json()["rate_per_second"], made.json()["on_hold"]) == ("initech", 20, False)
    changed = await boss.patch(f"{URL}/initech", json={"max_in_flight": 5, "rate_per_second": 0})
    assert (changed.json()["max_in_flight"], changed.json()["rate_per_second"]) == (5, None)
    assert (await boss.get(f"{URL}/initech")).json() == changed.json()
    listed = await boss.get(URL)
    assert [account["customer"] for account in listed.json()] == ["acme", "globex", "initech"]
    for answer in (made, changed, listed):
        assert CANARY not in answer.text
        assert "api_key" not in answer.text
    assert api.sql("SELECT api_key FROM accounts WHERE customer = 'initech'")[0][0] != CANARY
    assert ("account created",) in api.sql("SELECT action FROM events WHERE actor = 'client:boss'")


async def test_the_key_may_be_called_what_cloudagent_calls_it(boss: httpx.AsyncClient) -> None:
    assert (await boss.put(f"{URL}/initech", json={"apiKey": CANARY})).status_code == 200


WRONG: dict[str, tuple[bytes, int, set[str]]] = {
    "wrong values": (
        b'{"api_key": "%s x", "base_url": "ftp://%s", "max_in_flight": 0, "api": "v9", "path": "x"}',
        422,
        {"api_key", "base_url", "max_in_flight", "api", "path"},
    ),
    "wrong kinds": (
        b'{"api_key": ["%s"], "max_in_flight": "5", "rate_per_second": true}',
        422,
        {"api_key", "max_in_flight", "rate_per_second"},
    ),
    "fields that there are not": (b'{"api_key": "%s", "apikey": "%s", "colour": "red"}', 422, {"apikey", "colour"}),
    "no object": (b'["%s"]', 422, {"body"}),
    "the key twice": (b'{"api_key": "%s", "api_key": "%s"}', 400, set()),
    "half of it": (b'{"api_key": "%s', 400, set()),
    "nothing": (b"", 400, set()),
}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_wrong_account_is_refused_without_its_key_in_the_answer(
    api: Api, boss: httpx.AsyncClient, method: str
) -> None:
    for name, (body, status, fields) in WRONG.items():
        sent = body.replace(b"%s", CANARY.encode())
        answer = await boss.request(method, f"{URL}/acme", content=sent, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, (name, answer.text)
        assert {error["field"] for error in answer.json().get("errors", [])} <= fields, name
        assert CANARY not in answer.text
    assert api.count("accounts") == 2


async def test_a_new_account_needs_a_key(boss: httpx.AsyncClient) -> None:
    answer = await boss.put(f"{URL}/initech", json={})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["api_key"]


async def test_all_wrong_settings_are_named_at_once(boss: httpx.AsyncClient) -> None:
    wrong = {"api_key": "a b", "base_url": "ftp://x", "api": "v9", "path": "x", "rate_per_second": 1e-300}
    answer = await boss.put(f"{URL}/initech", json=wrong)
    assert {error["field"] for error in answer.json()["errors"]} == set(wrong)


async def test_what_is_not_there_can_be_neither_changed_nor_held(boss: httpx.AsyncClient) -> None:
    body = {"api_key": CANARY}
    answers = [
        await boss.get(f"{URL}/nobody"),
        await boss.get(f"{URL}/%00"),
        await boss.patch(f"{URL}/nobody", json=body),
        await boss.post(f"{URL}/nobody/hold"),
        await boss.post(f"{URL}/nobody/release", json={"reason": "none"}),
    ]
    assert [answer.status_code for answer in answers] == [404] * 5


async def test_a_hold_stops_an_account_until_its_release_and_both_are_on_record(
    api: Api, boss: httpx.AsyncClient
) -> None:
    held = (await boss.post(f"{URL}/acme/hold", json={"reason": "being moved"})).json()
    assert (held["on_hold"], held["hold_cause"], held["hold_reason"]) == (True, "operator", "being moved")
    assert (await boss.post(f"{URL}/acme/hold")).json() == held
    released = (await boss.post(f"{URL}/acme/release", json={"reason": "moved"})).json()
    assert (released["on_hold"], released["hold_cause"], released["held_at"]) == (False, None, None)
    events = api.sql("SELECT actor, action, reason FROM events WHERE subject = 'account:acme' ORDER BY id OFFSET 1")
    assert events == [
        ("client:boss", "account held", "being moved"),
        ("client:boss", "account released", "moved"),
    ]


async def test_a_reason_that_is_none_is_refused(boss: httpx.AsyncClient) -> None:
    for reason in ("x" * 501, 5, "\0"):
        answer = await boss.post(f"{URL}/acme/hold", json={"reason": reason})
        assert answer.status_code in (400, 422)
    assert (await boss.post(f"{URL}/acme/hold", content=b"reason=x")).status_code == 400
    assert (await boss.post(f"{URL}/acme/hold", data={"reason": "x"})).status_code == 415
    assert (await boss.get(f"{URL}/acme")).json()["on_hold"] is False


async def test_nobody_sends_a_body_before_it_is_known_who_asks(api: Api) -> None:
    stranger = await api.with_key(None)
    answer = await stranger.put(f"{URL}/acme", content=b"x" * 1_000_000)
    assert answer.status_code == 401
    boss = await api.client("admin")
    assert (await boss.put(f"{URL}/acme", content=b"x" * 1_000_000)).status_code == 413
