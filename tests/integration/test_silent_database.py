"""A database that says nothing any more: frozen, or no longer reachable though nobody has closed the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from deliveries import accept, ask, fields, stored, ucid, url_of
from sqlalchemy import text

from app.domain.errors import NotStored
from app.services.accounts import Directory
from app.services.intake import Intake
from app.services.keys import OPERATOR
from app.settings import Settings
from app.storage.engine import DATABASE_TROUBLE, make_engine
from app.storage.standing import StandingConnections, rows
from app.wiring import Services

PATIENCE = 0.3  # seconds


class GoesSilent:
    """A way to PostgreSQL on which nothing moves any more, in either direction, once it is told to be silent. What is
    connected later gets through."""

    def __init__(self, server: str, folder: str) -> None:
        self.server = f"{server}/.s.PGSQL.5432"
        self.own = f"{folder}/.s.PGSQL.5432"
        self._moving = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.silence()

    def silence(self) -> None:
        """Stops what is connected now."""
        self._moving.clear()
        self._moving = asyncio.Event()
        self._moving.set()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes one connection."""
        behind, server = await asyncio.open_unix_connection(self.server)
        for source, target in ((reader, server), (behind, writer)):
            task = asyncio.create_task(self._pass_on(source, target, self._moving))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, moving: asyncio.Event) -> None:
        while data := await source.read(65536):
            await moving.wait()
            target.write(data)
        target.close()

    def close(self) -> None:
        """Ends all that never will move again."""
        for task in self._tasks:
            task.cancel()


@pytest.fixture
async def way(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GoesSilent]:
    """A way to this test's database."""
    server = psycopg.conninfo.conninfo_to_dict(url_of(settings))["host"]
    way = GoesSilent(str(server), str(tmp_path_factory.mktemp("pg")))
    async with await asyncio.start_unix_server(way.meet, way.own):
        yield way
        way.close()


@pytest.fixture
def url(settings: Settings, way: GoesSilent) -> str:
    """The database's URL by that way."""
    return url_of(settings).split("?")[0] + f"?host={way.own.rpartition('/')[0]}&port=5432"


async def test_a_statement_is_not_waited_for_without_end(way: GoesSilent, url: str) -> None:
    engine = make_engine(url, name="test", patience=PATIENCE)
    async with asyncio.timeout(10), engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        way.silence()
        with pytest.raises(DATABASE_TROUBLE, match="did not answer within"):
            await connection.execute(text("SELECT 2"))
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 3"))).scalar_one() == 3
    await engine.dispose()


async def test_a_statement_of_intake_is_not_either(way: GoesSilent, url: str) -> None:
    standing = StandingConnections(url, name="test", patience=PATIENCE)
    async with asyncio.timeout(10):
        async with standing.connection() as connection:
            await rows(connection, b"SELECT 1", {})
        way.silence()
        with pytest.raises(DATABASE_TROUBLE):
            async with standing.connection() as connection:
                await rows(connection, b"SELECT 2", {})
        async with standing.connection() as connection:
            assert list(await rows(connection, b"SELECT 3", {})) == [(3,)]
    await standing.aclose()


@pytest.mark.usefixtures("account")
async def test_who_posts_to_a_silent_database_hears_that_it_is_not_stored_and_the_next_one_gets_through(
    services: Services, settings: Settings, way: GoesSilent, url: str
) -> None:
    engine = make_engine(url, name="test", patience=PATIENCE)
    standing = StandingConnections(url, name="test", patience=PATIENCE)
    intake = Intake(
        engine,
        standing,
        Directory(engine),
        services.bell,
        max_age=settings.max_age,
        duplicate_window=settings.duplicate_window,
        queue=settings.intake_queue,
    )
    async with asyncio.timeout(20):
        before = await intake.accept(fields(ucid(1)), OPERATOR)
        way.silence()
        with pytest.raises(NotStored):
            await intake.accept(fields(ucid(2)), OPERATOR)
        after = await intake.accept(fields(ucid(3)), OPERATOR)
    assert set(await stored(services)) == {before.id, after.id}
    again = await accept(services, ucid(2))
    assert not again.duplicate
    assert len(await ask(services, "SELECT FROM dispositions")) == 3
    await intake.drain()
    await standing.aclose()
    await engine.dispose()
