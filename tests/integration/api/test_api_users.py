"""``/v1/users``: made with a password or a link, changed, disabled; and what of it is shown once."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from callers import Api

from app.domain.errors import NotAuthenticated
from app.secrets import Secret
from app.services.users import Role

URL = "/v1/users"
PASSWORD = "four words in a row"


async def create(boss: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await boss.post(URL, json={"name": "asha", "role": "operator", **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def token_in(link: str) -> str:
    return link.rpartition("=")[2]


async def test_a_user_is_made_with_a_link_that_is_shown_once_and_works_once(api: Api, boss: httpx.AsyncClient) -> None:
    answer = await boss.post(URL, json={"name": "Asha", "role": "operator"})
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    link = made.pop("sign_in_link")
    assert (made["name"], made["role"], made["has_password"]) == ("asha", "operator", False)
    one, listed = await boss.get(answer.headers["location"]), await boss.get(URL)
    assert one.json() == made
    assert listed.json() == [made]
    assert token_in(link) not in one.text + listed.text
    assert token_in(link).encode() not in {digest for (digest,) in api.sql("SELECT digest FROM sign_in_links")}
    session = await api.services.sessions.sign_in_by_link(token_in(link), address="10.0.0.1")
    found = await api.services.sessions.find(session)
    assert found is not None
    assert (found.caller.actor, found.caller.scopes) == ("user:asha", {"read", "operate"})
    with pytest.raises(NotAuthenticated, match="used already"):
        await api.services.sessions.sign_in_by_link(token_in(link), address="10.0.0.1")


async def test_a_user_with_a_password_gets_no_link_and_the_password_is_nowhere(
    api: Api, boss: httpx.AsyncClient
) -> None:
    made = await create(boss, password=PASSWORD)
    assert (made["has_password"], made["sign_in_link"]) == (True, None)
    assert await api.services.sessions.sign_in("asha", Secret(PASSWORD), address="10.0.0.1")
    for table in ("users", "events"):
        assert PASSWORD not in str(api.sql(f"SELECT * FROM {table}"))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"role": "king"}, ["role"]),
        ({"name": "a/b", "role": 7}, ["name", "role"]),
        ({"password": "short"}, ["password"]),
        ({"password": "asha@example.com", "name": "asha@example.com"}, ["password"]),
        ({"name": "Taken"}, ["name"]),
        ({"scopes": ["admin"]}, ["scopes"]),
    ],
)
async def test_what_is_wrong_with_a_user_is_named_at_once(
    api: Api, boss: httpx.AsyncClient, fields: dict[str, Any], named: list[str]
) -> None:
    await create(boss, name="taken")
    answer = await boss.post(URL, json={"name": "asha", "role": "viewer", **fields})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == named
    assert "short" not in answer.text.replace("shorter", "")
    assert api.count("users") == 1


async def test_what_a_user_loses_is_lost_at_once(api: Api, boss: httpx.AsyncClient) -> None:
    await create(boss, password=PASSWORD)
    sessions = api.services.sessions
    for change in ({"password": "other words in a row"}, {"disabled": True, "reason": "left"}):
        password = PASSWORD if "password" in change else "other words in a row"
        session = await sessions.sign_in("asha", Secret(password), address="10.0.0.1")
        link = token_in((await boss.post(f"{URL}/asha/link")).json()["sign_in_link"])
        answer = await boss.patch(f"{URL}/asha", json=change)
        assert answer.status_code == 200, answer.text
        assert await sessions.find(session) is None
        with pytest.raises(NotAuthenticated):
            await sessions.sign_in_by_link(link, address="10.0.0.1")
    with pytest.raises(NotAuthenticated):
        await sessions.sign_in("asha", Secret("other words in a row"), address="10.0.0.1")
    assert (await boss.post(f"{URL}/asha/link")).status_code == 409
    assert (await boss.patch(f"{URL}/asha", json={"disabled": False})).json()["disabled_at"] is None
    assert await sessions.sign_in("asha", Secret("other words in a row"), address="10.0.0.1")
    told = [row[0] for row in api.sql("SELECT reason FROM events WHERE action = 'user disabled'")]
    assert told == ["left"]


async def test_a_role_that_is_changed_holds_in_sessions_that_go_on(api: Api, boss: httpx.AsyncClient) -> None:
    await create(boss, password=PASSWORD)
    session = await api.services.sessions.sign_in("asha", Secret(PASSWORD), address="10.0.0.1")
    assert (await boss.patch(f"{URL}/asha", json={"role": Role.VIEWER})).json()["role"] == "viewer"
    found = await api.services.sessions.find(session)
    assert found is not None
    assert found.caller.scopes == {"read"}
