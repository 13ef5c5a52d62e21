"""``/v1/keys``: made and seen once, rotated with a grace, revoked, expired; and within the bounds of who makes them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from callers import Api

from app.domain.errors import NotAuthenticated, StateConflict
from app.services.keys import Keys

URL = "/v1/keys"
DAY = timedelta(days=1)


async def create(boss: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await boss.post(URL, json={"name": "crm", "scopes": ["read"], **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def opens(api: Api, key: str) -> bool:
    """True if the key is known now, to somebody who never saw it before."""
    try:
        await Keys(api.services.engine).authenticate(key)
    except NotAuthenticated:
        return False
    return True


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_key_is_shown_when_it_is_made_and_never_again(api: Api, boss: httpx.AsyncClient) -> None:
    answer = await boss.post(URL, json={"name": "crm", "scopes": ["submit", "read"], "accounts": ["acme"]})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    key = made.pop("key")
    assert key.startswith(made["prefix"])
    assert (made["scopes"], made["accounts"], made["expires_at"]) == (["read", "submit"], ["acme"], None)
    one = await boss.get(answer.headers["location"])
    listed = await boss.get(URL)
    assert one.json() == made
    assert made in listed.json()
    assert key not in one.text + listed.text
    assert (await (await api.with_key(key)).get("/v1/stats")).status_code == 200
    digests = api.sql("SELECT digest FROM keys")
    assert key.encode() not in {digest for (digest,) in digests}


async def test_the_time_of_its_last_use_is_kept(api: Api, boss: httpx.AsyncClient) -> None:
    key = (await create(boss))["key"]
    assert (await boss.get(f"{URL}/crm")).json()["last_used_at"] is None
    await (await api.with_key(key)).get("/v1/stats")
    used = time((await boss.get(f"{URL}/crm")).json()["last_used_at"])
    assert abs(datetime.now(UTC) - used) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"scopes": ["everything"]}, ["scopes.0"]),
        ({"scopes": []}, ["scopes"]),
        ({"name": "a/b", "expires_at": "tomorrow"}, ["name", "expires_at"]),
        ({"accounts": ["nobody"], "expires_at": "2020-01-01T00:00:00Z"}, ["accounts", "expires_at"]),
        ({"name": "boss"}, ["name"]),
        ({"colour": "red", "expires_at": 5}, ["colour", "expires_at"]),
    ],
)
async def test_what_is_wrong_with_a_key_is_named_at_once(
    api: Api, boss: httpx.AsyncClient, fields: dict[str, Any], named: list[str]
) -> None:
    answer = await boss.post(URL, json={"name": "crm", "scopes": ["read"], **fields})
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == set(named)
    assert api.count("keys") == 1


async def test_a_key_that_has_expired_opens_nothing(api: Api, boss: httpx.AsyncClient) -> None:
    until = datetime.now(UTC) + DAY
    made = await create(boss, expires_at=until.isoformat())
    assert time(made["expires_at"]) == until
    assert await opens(api, made["key"])
    api.sql("UPDATE keys SET expires_at = clock_timestamp() WHERE name = 'crm'")
    assert not await opens(api, made["key"])


async def test_a_revoked_key_is_refused_within_seconds_also_where_it_is_remembered(
    api: Api, boss: httpx.AsyncClient
) -> None:
    key = (await create(boss))["key"]
    here = await api.with_key(key)
    await api.serve()  # a second process of the API, which knows the key as well
    there = await api.with_key(key)
    assert [(await client.get("/v1/stats")).status_code for client in (here, there)] == [200, 200]
    answer = await boss.delete(f"{URL}/crm", params={"reason": "it leaked"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await here.get("/v1/stats")).status_code == 401
    async with asyncio.timeout(5):
        while True:
            if (await there.get("/v1/stats")).status_code == 401:
                break
            await asyncio.sleep(0.1)
    assert (await boss.get(f"{URL}/crm")).json()["revoked_at"] is not None
    assert ("client:boss", "key revoked", "key:crm", "it leaked") in api.sql(
        "SELECT actor, action, subject, reason FROM events"
    )
    assert (await boss.delete(f"{URL}/crm")).status_code == 404
    assert (await boss.post(f"{URL}/crm/rotate")).status_code == 404
    taken = await boss.post(URL, json={"name": "crm", "scopes": ["read"]})
    assert taken.status_code == 422  # the audit trail knows the client by its name


async def test_after_a_rotation_both_keys_work_until_the_grace_is_over(api: Api, boss: httpx.AsyncClient) -> None:
    old = (await create(boss, scopes=["read", "submit"], accounts=["acme"]))["key"]
    answer = await boss.post(f"{URL}/crm/rotate", json={"grace_seconds": 3600, "reason": "yearly"})
    assert answer.status_code == 201
    new = answer.json()
    assert (new["name"], new["scopes"], new["accounts"]) == ("crm", ["read", "submit"], ["acme"])
    assert new["key"] != old
    assert await opens(api, old)
    assert await opens(api, new["key"])
    current, replaced = (key for key in (await boss.get(URL)).json() if key["name"] == "crm")
    assert (current["replaced_at"], current["expires_at"]) == (None, None)
    left = time(replaced["expires_at"]) - time(replaced["replaced_at"])
    assert abs(left - timedelta(hours=1)) < timedelta(seconds=1)
    api.sql("UPDATE keys SET expires_at = clock_timestamp() WHERE replaced_at IS NOT NULL")
    assert not await opens(api, old)
    assert await opens(api, new["key"])
    assert (await boss.delete(f"{URL}/crm")).status_code == 204
    assert not await opens(api, new["key"])


async def test_a_rotation_without_a_body_gives_a_day_and_one_without_grace_ends_all_older_keys(
    api: Api, boss: httpx.AsyncClient
) -> None:
    first = (await create(boss))["key"]
    second = (await boss.post(f"{URL}/crm/rotate")).json()["key"]
    ((left,),) = api.sql("SELECT expires_at - replaced_at FROM keys WHERE replaced_at IS NOT NULL")
    assert abs(left - DAY) < timedelta(seconds=1)
    third = (await boss.post(f"{URL}/crm/rotate", json={"grace_seconds": 0})).json()["key"]
    assert [await opens(api, key) for key in (first, second, third)] == [False, False, True]


async def test_a_rotated_key_lives_as_long_as_the_one_before_was_to_live(api: Api, boss: httpx.AsyncClient) -> None:
    await create(boss, expires_at=(datetime.now(UTC) + 90 * DAY).isoformat())
    api.sql(
        "UPDATE keys SET created_at = created_at - interval '89 days', expires_at = expires_at - interval '89 days'"
    )
    new = (await boss.post(f"{URL}/crm/rotate", json={"grace_seconds": 30 * 86400})).json()
    assert abs(time(new["expires_at"]) - datetime.now(UTC) - 90 * DAY) < timedelta(minutes=1)
    ((old,),) = api.sql("SELECT expires_at FROM keys WHERE replaced_at IS NOT NULL AND name = 'crm'")
    assert abs(old - datetime.now(UTC) - DAY) < timedelta(minutes=1)  # the grace makes no life longer
    until = (datetime.now(UTC) + 7 * DAY).isoformat()
    chosen = (await boss.post(f"{URL}/crm/rotate", json={"expires_at": until})).json()
    assert time(chosen["expires_at"]) == time(until)


async def test_a_wrong_rotation_is_refused_and_changes_nothing(api: Api, boss: httpx.AsyncClient) -> None:
    key = (await create(boss))["key"]
    for wrong in ({"grace_seconds": -1}, {"grace_seconds": 31 * 86400}, {"expires_at": "2020-01-01T00:00:00Z"}):
        answer = await boss.post(f"{URL}/crm/rotate", json=wrong)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [*wrong]
    assert await opens(api, key)
    assert api.count("keys") == 2


async def test_of_two_rotations_at_once_each_gives_a_key_that_works_or_says_that_it_came_second(api: Api) -> None:
    await api.key("read", name="crm")
    outcomes = await asyncio.gather(
        *(api.services.keys.rotate("crm", actor="test") for _ in range(8)), return_exceptions=True
    )
    keys = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert keys
    assert [outcome for outcome in outcomes if not isinstance(outcome, str | StateConflict)] == []
    assert all([await opens(api, key) for key in keys])
    assert api.count("keys WHERE replaced_at IS NULL") == 1


async def test_a_bound_admin_manages_the_keys_within_its_accounts_and_sees_no_other(api: Api) -> None:
    bound = await api.client("admin", accounts=["acme"], name="acme-admin")
    for name, accounts in {"theirs": ["globex"], "both": ["acme", "globex"], "all": []}.items():
        await api.key("read", accounts=accounts, name=name)
    await create(bound, name="mine", accounts=["acme"])
    assert [key["name"] for key in (await bound.get(URL)).json()] == ["acme-admin", "mine"]
    missing = await bound.get(f"{URL}/nobody")
    for name in ("theirs", "both", "all"):
        shown = await bound.get(f"{URL}/{name}")
        assert (shown.status_code, shown.text) == (404, missing.text.replace("nobody", name))
        assert (await bound.delete(f"{URL}/{name}")).status_code == 404
        assert (await bound.post(f"{URL}/{name}/rotate")).status_code == 404
    for accounts in ([], ["globex"], ["acme", "globex"]):
        answer = await bound.post(URL, json={"name": "more", "scopes": ["read"], "accounts": accounts})
        assert [error["field"] for error in answer.json()["errors"]] == ["accounts"]
    assert (await bound.post(f"{URL}/mine/rotate")).status_code == 201
    assert (await bound.delete(f"{URL}/mine")).status_code == 204
