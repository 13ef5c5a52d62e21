"""Clients' keys under many hands: the database is asked once for all who wait, and changes come one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from app.domain.errors import NotAuthenticated
from app.settings import Settings
from app.wiring import Services


@asynccontextmanager
async def nobody_reads_keys(settings: Settings) -> AsyncIterator[None]:
    """Whoever asks for a key waits meanwhile."""
    async with await psycopg.AsyncConnection.connect(settings.require_database_url()) as connection:
        await connection.execute("LOCK TABLE keys")
        yield


async def asking(settings: Settings) -> int:
    """How many queries wait for the lock, once there is one."""
    url = settings.require_database_url()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(5), await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while True:
            row = await (await connection.execute(waiting)).fetchone()
            if row and row[0]:
                return int(row[0])
            await asyncio.sleep(0.01)


async def test_while_the_database_is_asked_about_a_key_all_its_requests_wait_for_the_one_answer(
    services: Services, settings: Settings
) -> None:
    key = await services.keys.create("crm", ["read"])
    async with nobody_reads_keys(settings):
        requests = [asyncio.create_task(services.keys.authenticate(key)) for _ in range(50)]
        assert await asking(settings) == 1
        requests[0].cancel()  # its client hung up; the others' answer comes all the same
    callers = await asyncio.gather(*requests[1:])
    assert {caller.actor for caller in callers} == {"client:crm"}


async def test_a_key_that_is_not_known_is_refused_to_all_who_wait(services: Services, settings: Settings) -> None:
    async with nobody_reads_keys(settings):
        requests = [asyncio.create_task(services.keys.authenticate("wk_unknown")) for _ in range(50)]
        assert await asking(settings) == 1
    for answer in await asyncio.gather(*requests, return_exceptions=True):
        assert isinstance(answer, NotAuthenticated)


async def test_a_key_is_known_again_after_the_database_was_away(services: Services, settings: Settings) -> None:
    key = await services.keys.create("crm", ["read"])
    async with nobody_reads_keys(settings):
        request = asyncio.create_task(services.keys.authenticate(key))
        await asking(settings)
        async with await psycopg.AsyncConnection.connect(settings.require_database_url(), autocommit=True) as admin:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        with pytest.raises(Exception, match="terminat"):
            await request
    assert (await services.keys.authenticate(key)).actor == "client:crm"


async def test_a_rotation_locks_the_oldest_key_first_wherever_the_rows_lie(
    services: Services, settings: Settings
) -> None:
    """Two that lock them in different orders wait for each other, until PostgreSQL ends one."""
    first = await services.keys.create("crm", ["read"])
    second = await services.keys.rotate("crm")
    await services.keys.authenticate(first)  # noting its use moves the older key's row behind the newer one's
    async with await psycopg.AsyncConnection.connect(settings.require_database_url()) as other:
        oldest, newest = await (await other.execute("SELECT id FROM keys ORDER BY id")).fetchall()
        await other.execute("SELECT FROM keys WHERE id = %s FOR UPDATE", oldest)
        rotation = asyncio.create_task(services.keys.rotate("crm"))
        await asking(settings)
        await other.execute("SELECT FROM keys WHERE id = %s FOR UPDATE", newest)
    for key in (first, second, await rotation):
        assert (await services.keys.authenticate(key)).actor == "client:crm"


async def test_a_revocation_that_waited_for_a_rotation_revokes_the_new_key_too(
    services: Services, settings: Settings
) -> None:
    await services.keys.create("crm", ["read"])
    async with await psycopg.AsyncConnection.connect(settings.require_database_url()) as rotating:
        # As a rotation does it: what there is is replaced, and something new is added.
        await rotating.execute("UPDATE keys SET replaced_at = now() WHERE name = 'crm'")
        await rotating.execute(
            "INSERT INTO keys (name, prefix, digest, scopes) SELECT name, prefix, 'new', scopes FROM keys"
        )
        revocation = asyncio.create_task(services.keys.revoke("crm"))
        await asking(settings)
    await revocation
    async with services.engine.connect() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM keys WHERE revoked_at IS NULL")).scalar() == 0
