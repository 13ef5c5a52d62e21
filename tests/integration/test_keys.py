"""Knowing a client by its key: the database is asked once, whoever waits for the answer and whoever goes away."""

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
