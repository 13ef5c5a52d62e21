"""Sessions: in by password, link or proxy; slowed down when guessing; over when they are told to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from deliveries import ask, until

from app.domain.errors import InvalidInput, NotAuthenticated, NotFound, RateLimited, StateConflict
from app.secrets import Secret
from app.services.sessions import Sessions
from app.services.users import Role
from app.wiring import Services

PASSWORD = Secret("four words in a row")
WRONG = Secret("four words in a raw")
HERE = "10.0.0.1"


class Clock:
    """Seconds, as they are set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sessions(services: Services, clock: Clock) -> AsyncIterator[Sessions]:
    """Sessions with two users, and a clock to turn."""
    for name in ("asha", "ravi"):
        await services.users.create(name, Role.OPERATOR, password=PASSWORD)
    return Sessions(services.engine, lifetime=timedelta(hours=1), clock=clock)


async def test_a_user_is_known_by_the_token_of_the_session_until_they_sign_out(sessions: Sessions) -> None:
    one = await sessions.sign_in(" Asha ", PASSWORD, address=HERE)
    other = await sessions.sign_in("asha", PASSWORD, address=HERE)
    found = await sessions.find(one)
    assert found is not None
    assert (found.user.name, found.caller.actor) == ("asha", "user:asha")
    assert one not in found.form_token
    again = await sessions.find(other)
    assert again is not None
    assert again.form_token != found.form_token
    await sessions.sign_out(one)
    assert await sessions.find(one) is None
    assert await sessions.find(other) is not None
    assert await sessions.find("") is None


async def test_there_is_nothing_in_the_database_that_opens_a_session(sessions: Sessions, services: Services) -> None:
    token = await sessions.sign_in("asha", PASSWORD, address=HERE)
    link = await services.users.link("asha")
    everything = str(
        [await ask(services, f"SELECT * FROM {table}") for table in ("sessions", "sign_in_links", "events")]
    )
    assert token not in everything
    assert link not in everything
    [row] = await ask(services, "SELECT password_hash FROM users WHERE name = 'asha'")
    assert row.password_hash.startswith("$argon2id$")


async def test_a_session_ends_after_its_lifetime(services: Services, sessions: Sessions) -> None:
    token = await sessions.sign_in("asha", PASSWORD, address=HERE)
    await ask(services, "UPDATE sessions SET expires_at = clock_timestamp()")
    assert await sessions.find(token) is None
    await sessions.sign_in("asha", PASSWORD, address=HERE)
    assert len(await ask(services, "SELECT FROM sessions")) == 1  # the old one was cleared away


@pytest.mark.parametrize("name", ["asha", "nobody"])
async def test_a_guesser_waits_after_five_wrong_passwords(sessions: Sessions, clock: Clock, name: str) -> None:
    messages = set()
    for _ in range(5):
        with pytest.raises(NotAuthenticated) as wrong:
            await sessions.sign_in(name, WRONG, address=HERE)
        messages.add(str(wrong.value))
    assert messages == {"Name and password do not match. Check both; capitals matter in the password."}
    with pytest.raises(RateLimited) as waiting:
        await sessions.sign_in(name, PASSWORD, address=HERE)
    assert 0 < waiting.value.retry_after <= 15 * 60 + 1
    assert await sessions.sign_in("ravi", PASSWORD, address=HERE)
    if name == "asha":
        assert await sessions.sign_in(name, PASSWORD, address="10.0.0.2")
        clock.now += 15 * 60
        assert await sessions.sign_in(name, PASSWORD, address=HERE)


async def test_who_mistypes_and_then_gets_it_right_starts_anew(sessions: Sessions) -> None:
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(NotAuthenticated):
                await sessions.sign_in("asha", WRONG, address=HERE)
        assert await sessions.sign_in("asha", PASSWORD, address=HERE)


async def test_guesses_that_come_all_at_once_are_counted_all(sessions: Sessions) -> None:
    tries = (sessions.sign_in("asha", WRONG, address=HERE) for _ in range(12))
    kinds = [type(result) for result in await asyncio.gather(*tries, return_exceptions=True)]
    assert kinds.count(NotAuthenticated) == 5
    assert kinds.count(RateLimited) == 7


async def test_many_who_guess_at_one_user_together_wait_too(sessions: Sessions) -> None:
    for number in range(50):
        with pytest.raises(NotAuthenticated):
            await sessions.sign_in("asha", WRONG, address=f"10.1.0.{number}")
    with pytest.raises(RateLimited):
        await sessions.sign_in("asha", PASSWORD, address="10.2.0.1")
    assert await sessions.sign_in("ravi", PASSWORD, address="10.2.0.1")


async def test_of_two_who_use_one_link_at_once_one_comes_in(sessions: Sessions, services: Services) -> None:
    link = await services.users.link("asha")
    results = await asyncio.gather(
        *(sessions.sign_in_by_link(link, address=HERE) for _ in range(3)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["NotAuthenticated", "NotAuthenticated", "str"]


async def test_an_old_link_opens_nothing(sessions: Sessions, services: Services) -> None:
    link = await services.users.link("asha")
    await ask(services, "UPDATE sign_in_links SET expires_at = clock_timestamp()")
    with pytest.raises(NotAuthenticated):
        await sessions.sign_in_by_link(link, address=HERE)


async def test_whom_a_proxy_knows_comes_in_only_as_a_user_of_ours(sessions: Sessions, services: Services) -> None:
    assert await sessions.find(await sessions.sign_in_by_proxy("Asha", address=HERE))
    with pytest.raises(NotAuthenticated, match="Ask an admin"):
        await sessions.sign_in_by_proxy("stranger", address=HERE)
    await services.users.disable("asha")
    with pytest.raises(NotAuthenticated):
        await sessions.sign_in_by_proxy("asha", address=HERE)


async def test_a_changed_password_ends_all_other_sessions(sessions: Sessions) -> None:
    before = await sessions.sign_in("asha", PASSWORD, address=HERE)
    found = await sessions.find(before)
    assert found is not None
    with pytest.raises(InvalidInput, match="old password"):
        await sessions.change_password(found.user, WRONG, Secret("another row of words"), address=HERE)
    with pytest.raises(InvalidInput, match="12 to 200"):
        await sessions.change_password(found.user, PASSWORD, Secret("short"), address=HERE)
    after = await sessions.change_password(found.user, PASSWORD, Secret("another row of words"), address=HERE)
    assert await sessions.find(before) is None
    assert await sessions.find(after) is not None
    with pytest.raises(NotAuthenticated):
        await sessions.sign_in("asha", PASSWORD, address=HERE)


async def test_nobody_locks_themselves_out(services: Services, sessions: Sessions) -> None:
    with pytest.raises(StateConflict, match="Ask another admin"):
        await services.users.disable("asha", actor="user:asha")
    with pytest.raises(StateConflict, match="Ask another admin"):
        await services.users.set_role("asha", Role.VIEWER, actor="user:asha")
    assert (await services.users.disable("asha", actor="user:ravi")).disabled_at
    with pytest.raises(NotFound):
        await services.users.disable("nobody")


async def test_all_of_it_is_in_the_audit_trail(services: Services, sessions: Sessions) -> None:
    token = await sessions.sign_in_by_link(await services.users.link("asha", actor="user:ravi"), address=HERE)
    await sessions.sign_out(token)
    await services.users.set_role("asha", Role.ADMIN, actor="user:ravi")
    told = await ask(services, "SELECT actor, action, reason FROM events WHERE subject = 'user:asha' ORDER BY id")
    assert [tuple(row) for row in told] == [
        ("cli", "user created", "operator"),
        ("user:ravi", "sign-in link made", None),
        ("user:asha", "signed in", "by link"),
        ("user:asha", "signed out", None),
        ("user:ravi", "user role changed", "from operator to admin"),
    ]


@asynccontextmanager
async def taking_access_away(services: Services, change: str) -> AsyncIterator[None]:
    """Somebody changes asha's row and ends her sessions; committed once a sign-in waits for it, or has not."""
    async with services.engine.begin() as connection:
        await connection.exec_driver_sql(f"UPDATE users SET {change} WHERE name = 'asha'")
        yield
        waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await until(lambda: ask(services, waiting))
        for table in ("sessions", "sign_in_links"):
            await connection.exec_driver_sql(f"DELETE FROM {table}")


@pytest.mark.parametrize("change", ["password_hash = 'another'", "disabled_at = now()"])
async def test_who_signs_in_while_the_access_is_taken_away_is_not_let_in(
    services: Services, sessions: Sessions, change: str
) -> None:
    async with taking_access_away(services, change):
        late = asyncio.create_task(sessions.sign_in("asha", PASSWORD, address=HERE))
    with pytest.raises(NotAuthenticated, match="just now"):
        await late
    assert await ask(services, "SELECT FROM sessions") == []


async def test_a_sign_in_link_that_is_taken_away_while_it_is_used_lets_nobody_in(
    services: Services, sessions: Sessions
) -> None:
    link = await services.users.link("asha")
    async with taking_access_away(services, "password_hash = 'another'"):
        late = asyncio.create_task(sessions.sign_in_by_link(link, address=HERE))
    with pytest.raises(NotAuthenticated, match="used already"):
        await late
    assert await ask(services, "SELECT FROM sessions") == []


async def test_of_two_changes_of_a_password_the_later_one_is_told(services: Services, sessions: Sessions) -> None:
    token = await sessions.sign_in("asha", PASSWORD, address=HERE)
    found = await sessions.find(token)
    assert found is not None
    async with taking_access_away(services, "password_hash = 'another'"):
        late = asyncio.create_task(
            sessions.change_password(found.user, PASSWORD, Secret("five words in a row"), address=HERE)
        )
    with pytest.raises(StateConflict, match="just now"):
        await late
    assert await ask(services, "SELECT FROM users WHERE password_hash = 'another'")


async def test_no_sign_in_link_is_made_for_a_user_whose_access_is_taken_away(
    services: Services, sessions: Sessions
) -> None:
    async with taking_access_away(services, "disabled_at = now()"):
        late = asyncio.create_task(services.users.link("asha"))
    with pytest.raises(StateConflict, match="disabled"):
        await late
    await services.users.enable("asha")  # a link from before would work again
    assert await ask(services, "SELECT FROM sign_in_links") == []


@pytest.mark.parametrize("change", ["disabled_at = now()", "role = 'viewer'"])
async def test_of_two_admins_who_take_each_others_access_away_at_once_one_is_left(
    services: Services, sessions: Sessions, change: str
) -> None:
    for name in ("asha", "ravi"):
        await services.users.set_role(name, Role.ADMIN)
    async with taking_access_away(services, change):  # as ravi does it
        late = asyncio.create_task(services.users.disable("ravi", actor="user:asha"))
    with pytest.raises(StateConflict, match="ravi is the last admin"):
        await late
    assert (await services.users.get("ravi")).disabled_at is None
    assert (await services.users.disable("ravi")).disabled_at  # beside the database it may be done
