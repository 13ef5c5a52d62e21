"""Every route of the pages: for whom it is, and that nobody else changes anything by it."""

from __future__ import annotations

from typing import Any

import pytest
from deliveries import fields, ucid
from visitors import Pages, Visitor, fail

from app.services.keys import OPERATOR
from app.services.replays import read_request
from app.services.users import Role
from app.storage.failures import Wanted
from app.web.dashboard import router
from tests.routes import routes

RANK = {role: rank for rank, role in enumerate(Role)}

# For whom each route is (None: for everybody), and the form that is sent to it.
ROUTES: dict[tuple[str, str], tuple[Role | None, dict[str, str]]] = {
    ("GET", "/static/{name}"): (None, {}),
    ("GET", "/sign-in"): (None, {}),
    ("POST", "/sign-in"): (None, {"name": "nobody", "password": "wrong"}),
    ("GET", "/sign-in/link"): (None, {}),
    ("POST", "/sign-in/link"): (None, {"token": "wrong"}),
    ("POST", "/sign-out"): (Role.VIEWER, {}),
    ("GET", "/me"): (Role.VIEWER, {}),
    ("POST", "/me/password"): (Role.VIEWER, {"new": "four words in a row", "again": "four words in a row"}),
    ("GET", "/"): (Role.VIEWER, {}),
    ("GET", "/failures"): (Role.VIEWER, {}),
    ("GET", "/failures/{failure_id}"): (Role.VIEWER, {}),
    ("POST", "/failures/{failure_id}/acknowledge"): (Role.OPERATOR, {"note": "we know"}),
    ("POST", "/failures/{failure_id}/reopen"): (Role.OPERATOR, {}),
    ("GET", "/dispositions"): (Role.VIEWER, {}),
    ("GET", "/dispositions.{kind}"): (Role.VIEWER, {}),
    ("GET", "/dispositions/{disposition_id}"): (Role.VIEWER, {}),
    ("POST", "/dispositions/{disposition_id}/retry"): (Role.OPERATOR, {}),
    ("POST", "/dispositions/{disposition_id}/cancel"): (Role.OPERATOR, {}),
    ("GET", "/dispositions/{disposition_id}/resend"): (Role.OPERATOR, {}),
    ("POST", "/dispositions/{disposition_id}/resend"): (Role.OPERATOR, {"agent_id": "a18"}),
    ("GET", "/replays"): (Role.VIEWER, {}),
    ("POST", "/replays"): (Role.OPERATOR, {"filter": "state=failed", "action": "retry"}),
    ("GET", "/replays/{replay_id}"): (Role.VIEWER, {}),
    ("POST", "/replays/{replay_id}/start"): (Role.OPERATOR, {}),
    ("POST", "/replays/{replay_id}/cancel"): (Role.OPERATOR, {}),
    ("GET", "/schedules"): (Role.VIEWER, {}),
    ("POST", "/schedules"): (Role.OPERATOR, {"name": "nightly", "cron": "30 2 * * *", "filter": "state=failed"}),
    ("GET", "/schedules/{name}"): (Role.VIEWER, {}),
    ("POST", "/schedules/{name}/change"): (Role.OPERATOR, {"cron": "30 2 * * *", "filter": "state=failed"}),
    ("POST", "/schedules/{name}/pause"): (Role.OPERATOR, {}),
    ("POST", "/schedules/{name}/resume"): (Role.OPERATOR, {}),
    ("POST", "/schedules/{name}/run"): (Role.OPERATOR, {}),
    ("POST", "/schedules/{name}/backfill"): (
        Role.OPERATOR,
        {"from": "2026-01-01T00:00", "to": "2026-01-02T00:00"},
    ),
    ("POST", "/schedules/{name}/delete"): (Role.OPERATOR, {}),
    ("GET", "/live"): (Role.VIEWER, {}),
    ("GET", "/calls/{account}/{ucid}"): (Role.VIEWER, {}),
    ("GET", "/accounts"): (Role.VIEWER, {}),
    ("POST", "/accounts"): (Role.ADMIN, {"customer": "initech", "api_key": "KKnew"}),
    ("GET", "/accounts/{customer}"): (Role.VIEWER, {}),
    ("POST", "/accounts/{customer}"): (Role.ADMIN, {"max_in_flight": "7"}),
    ("POST", "/accounts/{customer}/key"): (Role.ADMIN, {"api_key": "KKother"}),
    ("GET", "/accounts/{customer}/test"): (Role.VIEWER, {}),
    ("POST", "/accounts/{customer}/test"): (Role.OPERATOR, {}),
    ("POST", "/accounts/{customer}/hold"): (Role.OPERATOR, {"reason": "maintenance"}),
    ("POST", "/accounts/{customer}/release"): (Role.OPERATOR, {}),
    ("GET", "/audit"): (Role.VIEWER, {}),
    ("GET", "/audit.{kind}"): (Role.VIEWER, {}),
    ("GET", "/users"): (Role.ADMIN, {}),
    ("POST", "/users"): (Role.ADMIN, {"name": "new", "role": "viewer"}),
    ("POST", "/users/{name}/link"): (Role.ADMIN, {}),
    ("POST", "/users/{name}/role"): (Role.ADMIN, {"role": "operator"}),
    ("POST", "/users/{name}/disable"): (Role.ADMIN, {}),
    ("POST", "/users/{name}/enable"): (Role.ADMIN, {}),
}
OWN = {"/sign-out", "/me/password"}  # what a viewer may change: nobody's but their own way in

CHANGING = [(method, path) for method, path in ROUTES if method == "POST"]
GUARDED = [route for route, (needed, _) in ROUTES.items() if needed is not None]


def test_the_table_has_every_route_and_no_other() -> None:
    assert set(routes(router)) == set(ROUTES)


@pytest.fixture
async def values(pages: Pages) -> dict[str, str]:
    """What the routes name."""
    receipt = await pages.services.intake.accept(fields(account="acme"), OPERATOR)
    await fail(pages, ucid(1))
    [failure] = (await pages.services.failures.all(Wanted(), limit=1)).failures
    await pages.services.users.create("ravi", Role.VIEWER)
    asked = read_request({"filter": {"state": "failed"}, "start": False}, OPERATOR)
    replay = (await pages.services.replays.create(asked, OPERATOR)).replay
    await pages.services.schedules.create(
        {"name": "ravi", "every": "6h", "replay": {"filter": {"state": "failed"}}}, OPERATOR
    )
    return {
        "disposition_id": str(receipt.id),
        "failure_id": str(failure["id"]),
        "replay_id": str(replay.id),
        "account": "acme",
        "customer": "acme",
        "ucid": receipt.ucid,
        "name": "ravi",
        "kind": "csv",
    }


def everything(pages: Pages) -> dict[str, list[tuple[Any, ...]]]:
    """What is stored of all that can be changed."""
    tables = ("accounts", "users", "keys", "dispositions", "calls", "sign_in_links", "events")
    tables += ("replays", "schedules", "schedule_runs")
    return {table: pages.sql(f"SELECT * FROM {table} ORDER BY 1") for table in tables}


async def call(visitor: Visitor, method: str, path: str, values: dict[str, str]) -> Any:
    address = path.format(**values)
    return await (visitor.get(address) if method == "GET" else visitor.send(address, **ROUTES[method, path][1]))


async def test_who_is_not_signed_in_is_sent_to_the_sign_in_page(pages: Pages, values: dict[str, str]) -> None:
    before = everything(pages)
    for visitor in (pages.nobody(), Visitor(pages.nobody()._http, "no session's token")):
        for method, path in GUARDED:
            answer = await call(visitor, method, path, values)
            assert answer.status_code == 303, (method, path)
            assert answer.headers["location"].startswith("/sign-in"), (method, path)
    assert everything(pages) == before


@pytest.mark.parametrize("role", list(Role))
async def test_each_route_opens_to_its_role_and_those_above(pages: Pages, values: dict[str, str], role: Role) -> None:
    for method, path in GUARDED:
        needed = ROUTES[method, path][0]
        visitor = await pages.user(role)
        before = everything(pages)
        answer = await call(visitor, method, path, values)
        if RANK[role] >= RANK[needed or Role.VIEWER]:
            assert answer.status_code in (200, 303, 409), (method, path, answer.status_code, answer.text)
            assert not answer.headers.get("location", "").startswith("/sign-in?"), (method, path)
        else:
            assert answer.status_code == 403, (method, path)
            assert f"yours is {role}" in answer.text
            assert everything(pages) == before, (method, path)


async def test_a_viewer_changes_nothing_by_any_route_of_the_pages_or_the_api(
    pages: Pages, values: dict[str, str]
) -> None:
    visitor = await pages.user(Role.VIEWER)
    token = await visitor.form_token()
    before = everything(pages)
    for method, path in CHANGING:
        if path not in OWN and not path.startswith("/sign-in"):
            await visitor.post(path.format(**values), {"form_token": token, **ROUTES[method, path][1]})
    for path in (
        "/v1/dispositions",
        "/v1/accounts/acme/hold",
        "/v1/users",
        f"/v1/dispositions/{values['disposition_id']}/cancel",
    ):
        answer = await visitor.post(path, {"form_token": token})
        assert answer.status_code == 401, path  # a session is no key
    assert everything(pages) == before


async def test_no_form_is_taken_without_the_token_of_its_session_or_from_another_site(
    pages: Pages, values: dict[str, str]
) -> None:
    admin, other = await pages.user(Role.ADMIN), await pages.user(Role.ADMIN, "second")
    mine, theirs = await admin.form_token(), await other.form_token()
    assert mine != theirs
    before = everything(pages)
    for method, path in CHANGING:
        needed, form = ROUTES[method, path]
        address = path.format(**values)
        foreign = [
            await admin.post(address, {"form_token": mine, **form}, sec_fetch_site="cross-site"),
            await admin.post(address, {"form_token": mine, **form}, sec_fetch_site="same-site"),
            await admin.post(address, {"form_token": mine, **form}, origin="https://evil.example"),
        ]
        tokens = [{"other": "field"}, {"form_token": ""}, {"form_token": theirs}] if needed else []
        wrong = [await admin.post(address, {**form, **token}) for token in tokens]
        assert {answer.status_code for answer in foreign + wrong} == {403}, path
        assert all("That is not allowed here" in answer.text for answer in foreign + wrong), path
    assert everything(pages) == before
