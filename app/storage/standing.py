"""Connections that stay open, for the one statement that runs by the thousand.

SQLAlchemy's way to a connection and back (a greenlet for each step, the pool, isolation level and reset) costs more
than that statement itself, and is half of a lone request's latency (``docs/decisions/0009-intake-in-groups.md``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

import psycopg
from psycopg.rows import TupleRow
from sqlalchemy.exc import DBAPIError

from app.storage.engine import PATIENCE, PatientConnection, connect, connect_arguments

Connection = PatientConnection


class StandingConnections:
    """Connections in autocommit: each statement is a transaction. As many are opened as are used at the same time.

    They raise what the engine would raise, SQLAlchemy's kinds of ``DBAPIError``, without statement and parameters.
    """

    def __init__(self, url: str, *, name: str, patience: float = PATIENCE) -> None:
        self._arguments = {**connect_arguments(url, name=name), "patience": patience}
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One of them, for as long as the block lasts."""
        connection = self._idle.pop() if self._idle else await self._open()
        try:
            yield connection
        finally:
            if connection.closed:
                await self.aclose()  # it seldom dies alone, and each of the others would cost a request to show it
            else:
                self._idle.append(connection)

    async def _open(self) -> Connection:
        with _as_the_engine_raises():
            return await connect(**self._arguments, autocommit=True)

    async def aclose(self) -> None:
        """Closes those that are not in use."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()


async def rows(connection: Connection, statement: bytes, parameters: Mapping[str, object]) -> Sequence[TupleRow]:
    """The rows that a statement gives, committed. Placeholders are psycopg's: ``%(name)s``."""
    with _as_the_engine_raises():
        cursor = await connection.execute(statement, parameters, prepare=True)
        return await cursor.fetchall()


@contextmanager
def _as_the_engine_raises() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise DBAPIError.instance(None, None, error, psycopg.Error, hide_parameters=True) from None
