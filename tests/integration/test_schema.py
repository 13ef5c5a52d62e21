"""The schema: migrated up and down on data, by several at once, and the same as the tables in the code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from alembic.util import CommandError
from deliveries import ask, post, pumping, settle, ucid
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.embedded.throwaway import ThrowawayServers
from app.services.keys import OPERATOR
from app.settings import Settings
from app.storage import schema
from app.storage.engine import make_engine
from app.storage.tables import metadata
from app.wiring import Services

TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
FUNCTIONS = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"


@pytest.fixture
def empty_database_url(servers: ThrowawayServers) -> Iterator[str]:
    """A database that nobody has migrated."""
    admin = servers.database_url.replace("/wrapup?", "/postgres?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty")
    yield servers.database_url.replace("/wrapup?", "/empty?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE empty WITH (FORCE)")


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(empty_database_url, name="test")
    yield engine
    await engine.dispose()


async def names(engine: AsyncEngine, query: str) -> set[str]:
    async with engine.connect() as connection:
        return set((await connection.exec_driver_sql(query)).scalars())


async def current(engine: AsyncEngine) -> str | None:
    async with engine.connect() as connection:
        return await schema.current(connection)


async def test_the_migrated_schema_and_the_tables_in_the_code_say_the_same(services: Services) -> None:
    await schema.check(services.engine)


async def test_a_difference_between_them_is_found(services: Services) -> None:
    await ask(services, "ALTER TABLE accounts ADD forgotten text")
    with pytest.raises(CommandError, match="forgotten"):
        await schema.check(services.engine)


async def test_an_empty_database_is_brought_to_the_head_and_back(empty: AsyncEngine) -> None:
    assert await current(empty) is None
    await schema.upgrade(empty)
    assert await current(empty) == schema.head()
    assert await names(empty, TABLES) == {*metadata.tables, "alembic_version"}
    await schema.upgrade(empty)  # nothing to do
    await schema.downgrade(empty, "base")
    assert await current(empty) is None
    assert await names(empty, TABLES) == {"alembic_version"}
    assert await names(empty, FUNCTIONS) == set()


@pytest.mark.usefixtures("account")
async def test_down_and_up_again_with_data_in_every_table(services: Services, settings: Settings) -> None:
    for number in range(3):
        await post(services, ucid(number), key=f"key{number}")
    await services.keys.create("crm", ["submit"])
    async with pumping(settings) as deliverer:
        await settle(services, deliverer)
        await deliverer.upkeep.tick()
    await services.engine.dispose()  # statements that are prepared on its connections know the tables of before
    await schema.downgrade(services.engine, "base")
    await schema.upgrade(services.engine)
    await schema.check(services.engine)
    assert await ask(services, "SELECT FROM dispositions") == []
    assert (await services.reports.stats(OPERATOR))["accounts"] == {}


async def test_several_migrations_at_once_wait_for_each_other(empty: AsyncEngine, empty_database_url: str) -> None:
    engines = [make_engine(empty_database_url, name=f"test{number}") for number in range(3)]
    await asyncio.gather(*(schema.upgrade(engine) for engine in engines))
    assert await current(empty) == schema.head()
    locks = (
        "SELECT objid::text FROM pg_locks WHERE locktype = 'advisory' AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert await names(empty, locks) == set()
    for engine in engines:
        await engine.dispose()


async def test_a_migration_waits_longer_for_another_one_than_anybody_waits_for_an_answer(
    empty: AsyncEngine, empty_database_url: str
) -> None:
    hasty = make_engine(empty_database_url, name="hasty", patience=0.2)
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND query_start < now() - interval '0.5 s'"
    lock = int.from_bytes(b"WRAP", "big")
    async with empty.connect() as other:
        await other.exec_driver_sql(f"SELECT pg_advisory_lock({lock})")
        await other.commit()
        migration = asyncio.create_task(schema.upgrade(hasty))
        async with asyncio.timeout(10):
            while not await names(empty, waits):  # noqa: ASYNC110  # the database has no event to wait for
                await asyncio.sleep(0.01)
        await other.exec_driver_sql(f"SELECT pg_advisory_unlock({lock})")
        await other.commit()
        await migration
    assert await current(empty) == schema.head()
    async with hasty.connect() as connection:
        with pytest.raises(OperationalError, match="did not answer within"):  # it is as hasty as ever
            await connection.exec_driver_sql("SELECT pg_sleep(10)")
    await hasty.dispose()


async def test_a_migration_that_fails_leaves_nothing_behind_and_no_lock(empty: AsyncEngine) -> None:
    async with empty.begin() as connection:
        await connection.exec_driver_sql("CREATE FUNCTION count_new_dispositions() RETURNS int RETURN 1")
    with pytest.raises(Exception, match="already exists"):
        await schema.upgrade(empty)
    assert await names(empty, TABLES) <= {"alembic_version"}
    async with empty.begin() as connection:
        await connection.exec_driver_sql("DROP FUNCTION count_new_dispositions")
    async with asyncio.timeout(10):
        await schema.upgrade(empty)
    assert await current(empty) == schema.head()
