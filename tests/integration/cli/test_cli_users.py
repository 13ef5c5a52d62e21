"""``wrapup users``: made, listed, changed."""

from __future__ import annotations

import pytest

from app.domain.errors import NotAuthenticated
from app.secrets import Secret

PASSWORD = "four words in a row"


async def test_a_user_without_a_password_gets_a_link_on_stdout_and_nothing_else(wrapup, services):
    made = await wrapup("users", "create", "Asha", "--role", "admin")
    assert made.status == 0
    link = made.out.removesuffix("\n")
    assert link.startswith("https://WRAPUP/sign-in/link?token=")
    assert "can't be shown again" in made.err
    session = await services.sessions.sign_in_by_link(link.rpartition("=")[2], address="10.0.0.1")
    found = await services.sessions.find(session)
    assert (found.user.name, found.user.role) == ("asha", "admin")
    again = await wrapup("users", "link", "asha", "--valid", "30m")
    assert again.out.removesuffix("\n") != link


async def test_a_password_comes_on_stdin(wrapup, services):
    made = await wrapup("users", "create", "asha", "--role", "viewer", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (made.status, made.out) == (0, "asha viewer\n")
    session = await services.sessions.sign_in("asha", Secret(PASSWORD), address="10.0.0.1")
    changed = await wrapup("users", "password", "asha", "--password-stdin", stdin="other words in a row\n")
    assert changed.status == 0
    assert await services.sessions.find(session) is None
    [listed] = (await wrapup("users", "list", "--json")).lines
    assert (listed["name"], listed["role"], listed["has_password"]) == ("asha", "viewer", True)
    assert "asha" in (await wrapup("users", "list")).out
    short = await wrapup("users", "password", "asha", "--password-stdin", stdin="short\n")
    assert (short.status, short.out) == (2, "")
    assert "has 5 characters" in short.err


async def test_a_user_who_leaves_has_no_access(wrapup, services):
    await wrapup("users", "create", "asha", "--role", "viewer", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (await wrapup("users", "role", "asha", "operator")).out == "asha operator\n"
    assert (await wrapup("users", "disable", "asha", "--reason", "left")).status == 0
    with pytest.raises(NotAuthenticated):
        await services.sessions.sign_in("asha", Secret(PASSWORD), address="10.0.0.1")
    assert (await wrapup("users", "link", "asha")).status == 1
    assert (await wrapup("users", "enable", "asha")).status == 0
    unknown = await wrapup("users", "disable", "nobody")
    assert unknown.status == 1
    assert "wrapup users list" in unknown.err
    assert (await wrapup("users", "create", "ravi", "--role", "king")).status == 2
