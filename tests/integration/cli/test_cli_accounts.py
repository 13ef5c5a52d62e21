"""``wrapup accounts``: set up, held, released. The apiKey goes in and never comes out."""

from __future__ import annotations

import asyncio
import os

from app.secrets import Cipher
from app.services.accounts import AccountSettings

KEY = "KKcanary0123456789"
SET = ("accounts", "set", "acme", "--api-key-stdin")


def _key_in(settings, account):
    return Cipher(settings.require_secret_keys()).decrypt(account.api_key).reveal()


async def test_an_account_is_made_with_the_first_line_of_stdin_as_its_key(wrapup, services, settings):
    made = await wrapup(*SET, "--base-url", "http://127.0.0.1:9", "--max-in-flight", "7", stdin=f"  {KEY} \nmore\n")
    assert (made.status, made.out, made.err) == (0, "acme http://127.0.0.1:9\n", "")
    account = await services.accounts.get("acme")
    assert _key_in(settings, account) == KEY
    assert account.max_in_flight == 7
    listed = await wrapup("accounts", "list", "--json")
    assert listed.lines[0]["customer"] == "acme"
    assert listed.lines[0]["created_at"].endswith("Z")
    assert "acme" in (await wrapup("accounts", "list")).out
    assert KEY not in listed.out
    assert account.api_key not in listed.out


async def test_what_is_not_given_stays_as_it_is(wrapup, services, settings):
    await wrapup(*SET, "--base-url", "http://127.0.0.1:9", stdin=KEY)
    changed = await wrapup("accounts", "set", "acme", "--rate-per-second", "2.5", "--json")
    assert changed.json["rate_per_second"] == 2.5
    assert changed.json["base_url"] == "http://127.0.0.1:9"
    assert _key_in(settings, await services.accounts.get("acme")) == KEY


async def test_all_faults_are_named_at_once_and_the_key_is_not_in_them(wrapup):
    ran = await wrapup(*SET, "--base-url", "ftp://x", "--api", "v9", stdin=f"{KEY} spaced\n")
    assert (ran.status, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    assert line.startswith("wrapup: ")
    for field in ("api_key", "api", "base_url"):
        assert f" {field} " in line
    assert KEY not in ran.err


async def test_setting_nothing_is_a_wrong_call(wrapup):
    ran = await wrapup("accounts", "set", "acme")
    assert ran.status == 2
    assert "nothing to set" in ran.err


async def test_in_a_terminal_the_key_is_asked_for_and_not_echoed(wrapup, services, settings, terminal):
    user, program = terminal
    process = await asyncio.create_subprocess_exec(
        *("setsid", "--ctty", *wrapup.argv(*SET, "--base-url", "http://127.0.0.1:9")),
        cwd=wrapup.folder,
        env=wrapup.environment(),
        stdin=program,
        stdout=program,
        stderr=program,
    )
    wrapup.started.append(process)
    os.close(program)
    loop = asyncio.get_running_loop()
    seen = b""
    while b"apiKey of acme: " not in seen:
        seen += await loop.run_in_executor(None, os.read, user, 1000)
    os.write(user, f"{KEY}\n".encode())
    assert await process.wait() == 0
    seen += os.read(user, 1000)
    assert b"acme http://127.0.0.1:9" in seen
    assert KEY.encode() not in seen
    assert _key_in(settings, await services.accounts.get("acme")) == KEY


async def test_a_held_account_says_why_until_it_is_released(wrapup, account, services):
    held = await wrapup("accounts", "hold", account, "--reason", "month's end \x1b[31m")
    assert (held.status, held.out) == (0, "acme on hold (operator): month's end \\x1b[31m\n")
    changed = await wrapup("accounts", "set", account, "--max-in-flight", "3")
    assert changed.err == "It is on hold. `wrapup accounts release acme` lets it go on.\n"
    released = await wrapup("accounts", "release", account, "--json")
    assert released.json["on_hold"] is False
    unknown = await wrapup("accounts", "hold", "nobody")
    assert (unknown.status, unknown.out) == (1, "")
    assert "wrapup accounts list" in unknown.err


async def test_an_account_is_tried_and_each_thing_is_on_a_line(wrapup, account, services, sandbox):
    await services.accounts.set(account, AccountSettings(api="v2-json-key"), actor="test")
    tried = await wrapup("accounts", "test", account)
    assert (tried.status, tried.err) == (0, "")
    lines = tried.out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "ok           connection",
        "ok           credentials",
        "not checked  disposition",
    ]
    sandbox.account(account, api_key="another")
    failed = await wrapup("accounts", "test", account, "--json", "--reason", "why is it so quiet")
    assert failed.status == 1
    assert failed.json["ok"] is False
    assert {check["name"]: check["result"] for check in failed.json["checks"]}["credentials"] == "failed"
    assert KEY not in tried.out + failed.out
    unknown = await wrapup("accounts", "test", "nobody")
    assert (unknown.status, unknown.out) == (1, "")


async def test_a_token_flavour_is_tried_with_a_token_that_is_printed_nowhere(wrapup, account, services, settings):
    await services.accounts.set(account, AccountSettings(api="v2-json-token"), actor="test")
    tried = await wrapup("accounts", "test", account, "--json", WRAPUP_LOG_LEVEL="debug")
    assert tried.status == 0
    assert [check["name"] for check in tried.json["checks"]] == ["apiKey", "connection", "credentials", "disposition"]
    async with services.engine.connect() as connection:
        stored = (await connection.exec_driver_sql("SELECT token FROM tokens")).scalar_one()
    token = Cipher(settings.require_secret_keys()).decrypt(stored).reveal()
    assert token not in tried.out + tried.err
    assert stored not in tried.out + tried.err
