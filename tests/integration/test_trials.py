"""Trying an account: each thing is ok, failed, or could not be checked; and no call is disposed."""

from __future__ import annotations

from typing import Any

import pytest
from deliveries import CUSTOMER, ask, open_account

from app.sandbox import Sandbox
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.trials import Trial
from app.settings import Settings
from app.wiring import Services, open_services

ALL = ["v3-query", "v2-json-key", "v2-json-token"]


def results(trial: Trial) -> dict[str, str]:
    return {check.name: check.result.value for check in trial.checks}


def found(trial: Trial, name: str) -> str:
    [check] = [check for check in trial.checks if check.name == name]
    return f"{check.found} -> {check.todo}"


async def tried(services: Services, **more: Any) -> Trial:
    return await services.trials.run(CUSTOMER, actor="test", **more)


@pytest.mark.parametrize(
    ("api", "expected"),
    [
        ("v3-query", {"connection": "ok", "credentials": "not_checked", "disposition": "not_checked"}),
        ("v2-json-key", {"connection": "ok", "credentials": "ok", "disposition": "not_checked"}),
        (
            "v2-json-token",
            {"apiKey": "ok", "connection": "ok", "credentials": "ok", "disposition": "not_checked"},
        ),
    ],
)
async def test_right_credentials_pass_and_what_could_not_be_checked_is_said(
    services: Services, sandbox: Sandbox, api: str, expected: dict[str, str]
) -> None:
    await open_account(services, sandbox, api=api)
    trial = await tried(services)
    assert (results(trial), trial.ok, trial.api) == (expected, True, api)
    if api == "v3-query":
        assert "not refused: HTTP 200: Fail Invalid action->none" in found(trial, "credentials")


@pytest.mark.parametrize("api", ALL)
async def test_wrong_credentials_are_found_out(services: Services, sandbox: Sandbox, api: str) -> None:
    await open_account(services, sandbox, api=api)
    sandbox.account(CUSTOMER, api_key="another")
    trial = await tried(services)
    name = "apiKey" if api == "v2-json-token" else "credentials"
    assert not trial.ok
    assert results(trial)[name] == "failed"
    assert "wrapup accounts set sandbox --api-key-stdin" in found(trial, name)
    words = "Authentication fails" if api == "v3-query" else "Invalid userName or apiKey"
    assert words in found(trial, name)


@pytest.mark.parametrize("api", ALL)
async def test_nothing_is_disposed_whatever_cloudagent_makes_of_the_request(
    services: Services, sandbox: Sandbox, api: str
) -> None:
    await open_account(services, sandbox, api=api)
    await tried(services)
    assert sandbox.gate.accounts[CUSTOMER].calls == {}
    assert not any(request.applied for request in sandbox.log if request.row != "token_granted")
    for request in sandbox.log:
        assert not {"ucid", "disposition", "did", "agentID"} & request.parameters.keys()
        assert request.parameters.get("action") in ("none", "get", None)


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize(
    ("base_url", "name", "words"),
    [
        ("http://127.0.0.1:9", "connection", "no connection to 127.0.0.1:9: connection refused"),
        ("https://cloudagent.invalid", "connection", "can't be resolved"),
        ("https://{sandbox}", "connection", "TLS"),
        ("{url}/elsewhere", "address", "HTTP 404"),
    ],
)
async def test_a_wrong_address_is_found_out(
    services: Services, sandbox: Sandbox, api: str, base_url: str, name: str, words: str
) -> None:
    address = base_url.format(url=sandbox.url, sandbox=sandbox.url.removeprefix("http://"))
    await open_account(services, sandbox, api=api, base_url=address)
    trial = await tried(services)
    assert results(trial)[name] == "failed"
    assert words in found(trial, name)
    assert "wrapup accounts set sandbox --base-url" in found(trial, name)


async def test_a_host_that_hangs_is_given_up(settings: Settings, sandbox: Sandbox) -> None:
    async with open_services(settings.model_copy(update={"call_deadline_seconds": 0.3}), name="test") as services:
        await open_account(services, sandbox, api="v2-json-key")
        sandbox.next("hang")
        trial = await tried(services)
    assert results(trial)["connection"] == "failed"
    assert "no full reply within 0.3 s" in found(trial, "connection")


async def test_a_token_that_may_not_be_made_now_could_not_be_checked(services: Services, sandbox: Sandbox) -> None:
    await open_account(services, sandbox, api="v2-json-token")
    for _ in range(5):
        assert (await tried(services)).ok
    trial = await tried(services)
    assert (results(trial)["apiKey"], trial.ok) == ("not_checked", True)
    assert "5 were asked for within the hour" in found(trial, "apiKey")


async def test_an_account_that_takes_no_tokens_is_told_from_a_wrong_key(services: Services, sandbox: Sandbox) -> None:
    await open_account(services, sandbox, api="v2-json-token")
    sandbox.next("401")
    trial = await tried(services)
    assert results(trial)["credentials"] == "failed"
    assert "--api v2-json-key" in found(trial, "credentials")


@pytest.mark.parametrize("step", ["503", "html", "max_limit", "unknown_error"])
async def test_an_answer_that_says_nothing_about_the_credentials_does_not_pass_them(
    services: Services, sandbox: Sandbox, step: str
) -> None:
    await open_account(services, sandbox, api="v2-json-key")
    sandbox.next(step)
    assert results(await tried(services))["credentials"] == "not_checked"


async def test_it_works_on_hold_and_is_on_record(services: Services, sandbox: Sandbox) -> None:
    await open_account(services, sandbox, api="v2-json-key")
    await services.accounts.hold(CUSTOMER, actor="test")
    assert (await tried(services, reason="new key")).ok
    assert (await services.accounts.get(CUSTOMER)).on_hold
    [event] = await ask(services, "SELECT actor, reason FROM events WHERE action = 'account tested'")
    assert event.reason == "new key (connection ok, credentials ok, disposition not checked)"


async def test_a_key_that_cannot_be_read_is_found_out(services: Services, sandbox: Sandbox) -> None:
    await open_account(services, sandbox)
    await ask(services, "UPDATE accounts SET api_key = 'of another Wrapup'")
    trial = await tried(services)
    assert results(trial) == {"apiKey": "failed"}
    assert sandbox.log == []


async def test_a_new_key_is_tried_at_once(services: Services, sandbox: Sandbox) -> None:
    await open_account(services, sandbox, api="v2-json-token")
    sandbox.account(CUSTOMER, api_key="another")
    assert not (await tried(services)).ok
    await services.accounts.set(CUSTOMER, AccountSettings(api_key=Secret("another")), actor="test")
    assert (await tried(services)).ok
