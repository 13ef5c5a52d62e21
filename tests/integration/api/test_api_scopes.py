"""Every route: who may call it. A route without an entry in the table below is a mistake until it has one."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from callers import CANARY, SALE, Api

from app.services.keys import Scope
from app.settings import Settings
from app.web.dashboard import router as dashboard
from app.web.main import create_app
from tests.routes import routes

SCHEDULE = {"every": "1h", "replay": {"filter": {"state": "failed"}}}
WINDOW = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-01T02:00:00Z"}

# What to send to each route, and the scope that it needs; None: it needs no key.
ROUTES: dict[tuple[str, str], tuple[Scope | None, dict[str, Any]]] = {
    ("POST", "/v1/dispositions"): (Scope.SUBMIT, {"json": SALE}),
    ("POST", "/v1/dispositions/batch"): (Scope.SUBMIT, {"json": {"dispositions": [SALE]}}),
    ("GET", "/v1/dispositions"): (Scope.READ, {}),
    ("GET", "/v1/dispositions/{disposition_id}"): (Scope.READ, {}),
    ("POST", "/v1/dispositions/{disposition_id}/retry"): (Scope.OPERATE, {}),
    ("POST", "/v1/dispositions/{disposition_id}/cancel"): (Scope.OPERATE, {}),
    ("GET", "/v1/audit"): (Scope.READ, {}),
    ("GET", "/v1/stream"): (Scope.READ, {}),
    ("GET", "/v1/failures"): (Scope.READ, {}),
    ("GET", "/v1/failures/{failure_id}"): (Scope.READ, {}),
    ("POST", "/v1/failures/{failure_id}/acknowledge"): (Scope.OPERATE, {}),
    ("POST", "/v1/failures/{failure_id}/reopen"): (Scope.OPERATE, {}),
    ("POST", "/v1/dispositions/{disposition_id}/resend"): (Scope.OPERATE, {"json": {"agent_id": "b18"}}),
    ("POST", "/v1/replays"): (Scope.OPERATE, {"json": {"filter": {"state": "failed"}}}),
    ("GET", "/v1/replays"): (Scope.READ, {}),
    ("GET", "/v1/replays/{replay_id}"): (Scope.READ, {}),
    ("POST", "/v1/replays/{replay_id}/start"): (Scope.OPERATE, {}),
    ("POST", "/v1/replays/{replay_id}/cancel"): (Scope.OPERATE, {}),
    ("GET", "/v1/schedules"): (Scope.READ, {}),
    ("POST", "/v1/schedules"): (Scope.OPERATE, {"json": {**SCHEDULE, "name": "new"}}),
    ("GET", "/v1/schedules/ready-made"): (Scope.READ, {}),
    ("GET", "/v1/schedules/{name}"): (Scope.READ, {}),
    ("PATCH", "/v1/schedules/{name}"): (Scope.OPERATE, {"json": {"paused": True}}),
    ("POST", "/v1/schedules/{name}/run"): (Scope.OPERATE, {}),
    ("POST", "/v1/schedules/{name}/backfill"): (Scope.OPERATE, {"json": WINDOW}),
    ("DELETE", "/v1/schedules/{name}"): (Scope.OPERATE, {}),
    ("GET", "/v1/stats"): (Scope.READ, {}),
    ("GET", "/v1/accounts"): (Scope.READ, {}),
    ("GET", "/v1/accounts/{customer}"): (Scope.READ, {}),
    ("PUT", "/v1/accounts/{customer}"): (Scope.ADMIN, {"json": {"api_key": CANARY}}),
    ("PATCH", "/v1/accounts/{customer}"): (Scope.ADMIN, {"json": {"max_in_flight": 5}}),
    ("POST", "/v1/accounts/{customer}/hold"): (Scope.OPERATE, {}),
    ("POST", "/v1/accounts/{customer}/release"): (Scope.OPERATE, {}),
    ("POST", "/v1/accounts/{customer}/test"): (Scope.OPERATE, {}),
    ("GET", "/v1/keys"): (Scope.ADMIN, {}),
    ("POST", "/v1/keys"): (Scope.ADMIN, {"json": {"name": "new", "scopes": ["read"], "accounts": ["acme"]}}),
    ("GET", "/v1/keys/{name}"): (Scope.ADMIN, {}),
    ("POST", "/v1/keys/{name}/rotate"): (Scope.ADMIN, {}),
    ("DELETE", "/v1/keys/{name}"): (Scope.ADMIN, {}),
    ("GET", "/v1/users"): (Scope.ADMIN, {}),
    ("POST", "/v1/users"): (Scope.ADMIN, {"json": {"name": "new", "role": "viewer"}}),
    ("GET", "/v1/users/{name}"): (Scope.ADMIN, {}),
    ("PATCH", "/v1/users/{name}"): (Scope.ADMIN, {"json": {"role": "operator"}}),
    ("POST", "/v1/users/{name}/link"): (Scope.ADMIN, {}),
    # Its credentials are CloudAgent's own; test_drop_in.py has them.
    ("GET", "/CAServices/Disposition/DispositionAPIV3.php"): (None, {}),
    ("POST", "/CAServices/Disposition/DispositionAPIV3.php"): (None, {}),
    ("GET", "/health/live"): (None, {}),
    ("GET", "/health/ready"): (None, {}),
    ("GET", "/metrics"): (None, {}),
    ("GET", "/openapi.json"): (None, {}),
    ("HEAD", "/openapi.json"): (None, {}),
    ("GET", "/docs"): (None, {}),
    ("GET", "/docs.css"): (None, {}),
}

# Of these, each names an account (or what belongs to one) in its address.
OWNED = [
    (method, path)
    for (method, path), (scope, _) in ROUTES.items()
    if scope and "{" in path and not path.startswith("/v1/users")
]


def test_the_table_has_every_route_and_no_other() -> None:
    # Those of the pages: test_page_roles.py has them.
    assert set(routes(create_app(Settings()))) - set(routes(dashboard)) == set(ROUTES)


def test_the_document_says_which_scope_each_route_needs() -> None:
    document = create_app(Settings()).openapi()
    said = {
        (method.upper(), path): operation.get("security")
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    for route, security in said.items():
        scope, _ = ROUTES[route]
        assert security == ([{"HTTPBearer": [scope]}, {"APIKeyHeader": [scope]}] if scope else None), route
    assert {path for _, path in ROUTES} - {path for _, path in said} == {"/openapi.json", "/docs", "/docs.css"}


class Target:
    """Something of an account for each route to name."""

    def __init__(self, customer: str, **ids: str) -> None:
        self.values = {"customer": customer, "name": f"{customer}-key", **ids}

    async def call(self, client: httpx.AsyncClient, method: str, path: str, **changes: Any) -> httpx.Response:
        _, sent = ROUTES[method, path]
        request = client.build_request(method, path.format(**self.values), **{**sent, **changes})
        answer = await client.send(request, stream=True)
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):  # which never ends
            await answer.aread()
        await answer.aclose()
        return answer


@pytest.fixture
async def targets(api: Api, crm: httpx.AsyncClient) -> dict[str, Target]:
    made = {}
    for number, customer in enumerate(("acme", "globex")):
        posted = await crm.post("/v1/dispositions", json={**SALE, "account": customer, "ucid": str(number)})
        await api.key("read", accounts=[customer], name=f"{customer}-key")
        await api.services.users.create(f"{customer}-key", "viewer")
        failing = {**SALE, "account": customer, "ucid": f"{number}1", "agent_id": "x7"}
        failed = (await crm.post("/v1/dispositions", json=failing)).json()["id"]
        api.sql("UPDATE dispositions SET state = 'failed', cause = 'invalid_agent' WHERE id = %s", failed)
        (failure,) = (await crm.get("/v1/failures", params={"account": customer})).json()["items"]
        operator = await api.client("operate", accounts=[customer])
        await operator.post("/v1/schedules", json={**SCHEDULE, "name": f"{customer}-key"})
        replay = await operator.post("/v1/replays", json={"filter": {"account": customer}, "start": False})
        ids = {"failure_id": failure["id"], "replay_id": replay.json()["id"]}
        made[customer] = Target(customer, disposition_id=posted.json()["id"], **ids)
    return made


async def test_each_route_opens_to_its_scope_and_to_no_other(api: Api, targets: dict[str, Target]) -> None:
    acme = targets["acme"]
    clients = {scope: await api.client(scope) for scope in Scope}
    without = {scope: await api.client(*(set(Scope) - {scope})) for scope in Scope}
    nobody, stranger = await api.with_key(None), await api.with_key("wk_unknown")
    for (method, path), (needed, _) in ROUTES.items():
        for client in (nobody, stranger):
            answer = await acme.call(client, method, path)
            assert (answer.status_code == 401) == (needed is not None), (method, path, answer.status_code)
            if needed:
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["type"] == "urn:wrapup:problem:not-authenticated"
        if needed is None:
            continue
        for scope in set(Scope) - {needed}:
            answer = await acme.call(clients[scope], method, path)
            assert answer.status_code == 403, (method, path, scope)
            assert answer.json()["type"] == "urn:wrapup:problem:not-allowed"
        assert (await acme.call(without[needed], method, path)).status_code == 403, (method, path)
    for (method, path), (needed, _) in ROUTES.items():
        if needed:
            answer = await acme.call(clients[needed], method, path)
            assert answer.is_success or answer.status_code == 409, (method, path, answer.text)


async def test_what_belongs_to_an_account_is_not_there_for_a_key_bound_to_another(
    api: Api, targets: dict[str, Target]
) -> None:
    bound = await api.client(*Scope, accounts=["acme"])
    tables = ("accounts", "keys", "events", "dispositions", "failures", "replays", "schedules")
    before = {table: api.sql(f"SELECT * FROM {table} ORDER BY id") for table in tables if table != "keys"}
    assert OWNED
    for method, path in OWNED:
        answer = await targets["globex"].call(bound, method, path)
        assert answer.status_code == 404, (method, path, answer.text)
        assert answer.json()["type"] == "urn:wrapup:problem:not-found"
    for path in ("dispositions", "replays", "schedules", "accounts", "keys", "stats", "failures", "audit"):
        answer = await bound.get(f"/v1/{path}")
        assert answer.status_code == 200
        assert "globex" not in answer.text, path
    for path, body in {
        "/v1/dispositions": {**SALE, "account": "globex"},
        "/v1/keys": {"name": "more", "scopes": ["read"], "accounts": ["globex"]},
    }.items():
        assert (await targets["globex"].call(bound, "POST", path, json=body)).status_code == 422
    batch = {"dispositions": [{**SALE, "account": "globex"}]}
    answer = await targets["globex"].call(bound, "POST", "/v1/dispositions/batch", json=batch)
    assert answer.json()["results"][0]["status"] == 422
    assert {table: api.sql(f"SELECT * FROM {table} ORDER BY id") for table in before} == before
    assert api.count("keys WHERE revoked_at IS NULL AND replaced_at IS NULL") == api.count("keys")
    for method, path in OWNED:
        answer = await targets["acme"].call(bound, method, path)
        assert answer.is_success or answer.status_code == 409, (method, path, answer.text)


async def test_a_key_that_is_bound_to_accounts_manages_no_users(api: Api, targets: dict[str, Target]) -> None:
    bound = await api.client(*Scope, accounts=["acme"])
    before = api.sql("SELECT * FROM users ORDER BY id")
    for method, path in ROUTES:
        if path.startswith("/v1/users"):
            answer = await targets["acme"].call(bound, method, path)
            assert answer.status_code == 403, (method, path)
            assert "bound to accounts" in answer.json()["detail"]
    assert api.sql("SELECT * FROM users ORDER BY id") == before


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
async def test_a_key_comes_in_either_header(api: Api, header: str) -> None:
    key = await api.key("read")
    client = await api.with_key(None)
    value = f"bearer {key}" if header == "Authorization" else key
    assert (await client.get("/v1/stats", headers={header: value})).status_code == 200


async def test_a_header_that_holds_no_key_is_refused(api: Api) -> None:
    client = await api.with_key(None)
    for value in ("", "Bearer", "Bearer  x y", "Basic d2tfeDp5", "wk_x", "Bearer \xff".encode("latin-1")):
        answer = await client.get("/v1/stats", headers={"Authorization": value})  # type: ignore[dict-item]
        assert answer.status_code == 401
