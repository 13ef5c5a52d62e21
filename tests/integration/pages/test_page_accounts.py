"""The page of an account: tested from there, with what was found and what to do."""

from __future__ import annotations

import re

from visitors import API_KEY, Pages, text_of

from app.sandbox import Sandbox
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.users import Role


async def test_a_test_shows_each_check_and_disposes_nothing(pages: Pages, cloudagent: Sandbox) -> None:
    visitor = await pages.user(Role.OPERATOR, "asha")
    answer = await visitor.send("/accounts/acme/test")
    assert answer.status_code == 200
    said = text_of(answer)
    assert "nothing failed No call was disposed." in said
    assert f"connection ok {cloudagent.url} answered after" in said
    assert "disposition could not be checked" in said
    assert "The first disposition shows it." in said
    assert "asha account tested account acme" in text_of(await visitor.get("/audit"))
    assert API_KEY not in answer.text
    assert (await visitor.get("/accounts/acme/test")).headers["location"] == "/accounts/acme"


async def test_a_wrong_key_is_told_with_what_to_do(pages: Pages, cloudagent: Sandbox) -> None:
    cloudagent.account("acme", api_key="another")
    answer = await (await pages.user(Role.OPERATOR)).send("/accounts/acme/test")
    said = text_of(answer)
    assert "something failed" in said
    assert "credentials failed HTTP" in said
    assert "on the account's page or by wrapup accounts set acme --api-key-stdin ." in said
    assert API_KEY not in answer.text


async def test_on_hold_for_its_key_the_first_thing_to_do_is_the_new_one_or_to_ask_who_may_store_it(
    pages: Pages,
) -> None:
    pages.sql("UPDATE accounts SET hold_cause = 'authentication_failed' WHERE customer = 'globex'")
    admin = (await (await pages.user(Role.ADMIN)).get("/accounts/globex")).text
    buttons = re.findall(r'<button class="main">([^<]*)</button>', admin)
    assert buttons == ["Store it, and send what waits"]
    operator = text_of(await (await pages.user(Role.OPERATOR)).get("/accounts/globex"))
    assert "ask an admin of Wrapup to store it on this page" in operator
    assert "New apiKey" not in operator


async def test_an_account_that_is_not_there_can_not_be_tested_and_a_viewer_has_no_button(pages: Pages) -> None:
    assert (await (await pages.user(Role.OPERATOR)).send("/accounts/nobody/test")).status_code == 404
    assert 'action="/accounts/acme/test"' in (await (await pages.user(Role.OPERATOR)).get("/accounts/acme")).text
    assert 'action="/accounts/acme/test"' not in (await (await pages.user(Role.VIEWER)).get("/accounts/acme")).text


async def test_a_connection_that_is_refused_is_told(pages: Pages) -> None:
    await pages.services.accounts.set("acme", AccountSettings(Secret(API_KEY), "http://127.0.0.1:9"), actor="test")
    said = text_of(await (await pages.user(Role.OPERATOR)).send("/accounts/acme/test"))
    assert "connection failed" in said
    assert "Check DNS, the firewall, and the address" in said
