"""The database engine: pool, timeouts and the error that means "nobody knows"."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from psycopg.rows import TupleRow
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.domain.errors import ConfigurationError

# What a statement raises when the database is gone, going, or too slow. Nothing is known about what it did.
# InternalError: also what a session hears that was idle in a transaction for too long.
DATABASE_TROUBLE = (OperationalError, InterfaceError, InternalError, PoolTimeoutError, OSError)

Value = TypeVar("Value")

# Every session: UTC, no waiting for ever. A client that is frozen inside a transaction loses its locks.
_SESSION = {
    "timezone": "UTC",
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
}

# Seconds without an answer to a statement. Longer than the server lets one take: it is not slow then, it stands still
# (a frozen machine, a full disk), or a network lost the way to it without a word.
PATIENCE = 20.0


class PatientConnection(psycopg.AsyncConnection[TupleRow]):
    """A connection that does not wait for ever. The timeouts of the session are the server's, and a server that stands
    still keeps none of them."""

    patience: float | None = PATIENCE
    """Seconds to wait for an answer; None: as long as it takes."""

    async def wait(self, gen: PQGen[Value], interval: float = 0.1, timeout: float | None = None) -> Value:
        """As psycopg's. Out of patience it closes the connection: what the statement did, nobody knows."""
        if timeout is not None:  # psycopg knows itself what to do then
            return await super().wait(gen, interval, timeout)
        try:
            return await super().wait(gen, interval, self.patience)
        except _WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server did not answer within {self.patience:g} s") from None


async def connect(*, patience: float = PATIENCE, **arguments: Any) -> PatientConnection:
    """Opens a connection with what ``connect_arguments`` gives."""
    connection = await PatientConnection.connect(**arguments)
    connection.patience = patience
    return connection


# For who goes by keys only: deliveries. A plan is made once and then kept, and one that was made while a table was
# small would read all of it for each attempt when it has grown.
_BY_KEYS = dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_material"), "off")


def database_url(url: str) -> URL:
    """The URL with psycopg 3 as its driver, whichever of the usual schemes it came with."""
    try:
        parsed = make_url(url)
    except Exception:
        # The parser's own words could repeat the URL, and with it a password.
        raise ConfigurationError("WRAPUP_DATABASE_URL is not a URL like postgresql://user@host/name.") from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"WRAPUP_DATABASE_URL starts with {parsed.drivername}://. Wrapup needs PostgreSQL 18: postgresql://…"
        )
    return parsed.set(drivername="postgresql+psycopg")


def connect_arguments(url: str, *, name: str) -> dict[str, Any]:
    """What psycopg is to connect with; ``name`` is the connection's application name."""
    parsed = database_url(url)
    _, arguments = parsed.get_dialect()().create_connect_args(parsed)
    return {**arguments, **_ours(name)}


def _ours(name: str, *, by_keys: bool = False) -> dict[str, Any]:
    settings = _SESSION | _BY_KEYS if by_keys else _SESSION
    options = " ".join(f"-c {key}={value}" for key, value in settings.items())
    return {"application_name": f"wrapup {name}", "options": options, "connect_timeout": 5}


def make_engine(
    url: str, *, name: str, pool_size: int = 5, by_keys: bool = False, patience: float = PATIENCE
) -> AsyncEngine:
    """An engine whose connections carry ``name`` as their application name. Opens nothing yet.

    ``by_keys``: its statements name the rows that they want by key, and are to be planned so at any size of the tables.
    ``patience``: the seconds for which an answer may take, before the connection is given up.
    """
    return create_async_engine(
        database_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_use_lifo=True,
        hide_parameters=True,  # customers' words and numbers are nothing for error texts and debug logs
        connect_args={**_ours(name, by_keys=by_keys), "async_creator_fn": partial(connect, patience=patience)},
    )
