"""``wrapup keys``: seen once, listed without themselves, revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.errors import NotAuthenticated


async def test_stdout_has_the_key_and_nothing_else(wrapup, services, account):
    made = await wrapup("keys", "create", "crm", "--scope", "submit", "--scope", "read", "--account", account)
    assert made.status == 0
    assert "can't be shown again" in made.err
    key = made.out.removesuffix("\n")
    caller = await services.keys.authenticate(key)
    assert (caller.actor, caller.scopes, caller.accounts) == ("client:crm", {"submit", "read"}, {"acme"})
    listed = await wrapup("keys", "list", "--json")
    assert [(one["name"], one["prefix"]) for one in listed.lines] == [("crm", key[:9])]
    assert key not in listed.out + (await wrapup("keys", "list")).out


async def test_a_key_expires_when_it_is_told_to(wrapup):
    made = await wrapup("keys", "create", "crm", "--scope", "read", "--expires", "90d", "--json")
    expires = datetime.fromisoformat(made.json["expires_at"])
    assert abs(expires - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=1)
    wrong = await wrapup("keys", "create", "crm", "--scope", "read", "--expires", "soon")
    assert (wrong.status, wrong.out) == (2, "")
    assert "--expires 'soon' is not a duration" in wrong.err


async def test_what_is_wrong_with_a_key_is_named_at_once(wrapup):
    ran = await wrapup("keys", "create", "crm", "--scope", "everything", "--account", "nobody")
    assert (ran.status, ran.out) == (2, "")
    assert "everything" in ran.err
    assert "nobody" in ran.err


async def test_a_revoked_key_opens_nothing(wrapup, services):
    key = (await wrapup("keys", "create", "crm", "--scope", "read")).out.strip()
    assert (await wrapup("keys", "revoke", "crm", "--reason", "it leaked")).status == 0
    with pytest.raises(NotAuthenticated):
        await services.keys.authenticate(key)
    again = await wrapup("keys", "revoke", "crm")
    assert again.status == 1
    assert "wrapup keys list" in again.err


async def test_a_rotated_key_has_a_successor_and_works_until_the_grace_is_over(wrapup, services):
    old = (await wrapup("keys", "create", "crm", "--scope", "read")).out.strip()
    made = await wrapup("keys", "rotate", "crm", "--grace", "1h")
    assert made.status == 0
    new = made.out.removesuffix("\n")
    assert "for 1h" in made.err
    assert {(await services.keys.authenticate(key)).actor for key in (old, new)} == {"client:crm"}
    current, replaced = (await wrapup("keys", "list", "--json")).lines
    assert (current["prefix"], current["replaced_at"], current["expires_at"]) == (new[:9], None, None)
    left = datetime.fromisoformat(replaced["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=55) < left < timedelta(hours=1)
    unknown = await wrapup("keys", "rotate", "nobody")
    assert (unknown.status, unknown.out) == (1, "")


async def test_a_rotation_without_grace_ends_the_old_key(wrapup, services):
    old = (await wrapup("keys", "create", "crm", "--scope", "read")).out.strip()
    made = await wrapup("keys", "rotate", "crm", "--grace", "0s", "--json")
    assert (await services.keys.authenticate(made.json["key"])).scopes == {"read"}
    with pytest.raises(NotAuthenticated):
        await services.keys.authenticate(old)
