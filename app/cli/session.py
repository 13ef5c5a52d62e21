"""What a command works with: the services, open for as long as it runs, and what is told when they can't be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from psycopg.errors import UndefinedColumn, UndefinedTable
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.cli.beside import settings_for
from app.domain.errors import ConfigurationError
from app.logging import configure_logging
from app.wiring import Services, open_services

Result = TypeVar("Result")


def run(work: Callable[[Services], Awaitable[Result]], data_dir: Path | None) -> Result:
    """Runs ``work`` with the services; raises ``ConfigurationError`` if there is no database to work on."""
    settings = settings_for(data_dir)
    if settings.database_url is None:
        raise ConfigurationError(
            f"There is no database: no `wrapup up` runs on {settings.data_dir}, and WRAPUP_DATABASE_URL is not set. "
            "Start `wrapup up`, give its --data-dir, or set WRAPUP_DATABASE_URL, WRAPUP_BROKER_URL and "
            "WRAPUP_SECRET_KEYS."
        )
    # A command tells its errors itself, in one line.
    configure_logging("debug" if settings.log_level == "debug" else "error", settings.log_format)

    async def with_services() -> Result:
        async with open_services(settings, name="cli") as services:
            return await work(services)

    with database_trouble_told():
        return asyncio.run(with_services())


@contextmanager
def database_trouble_told() -> Iterator[None]:
    """Makes a ``ConfigurationError`` of what the database or the way to it does wrong."""
    try:
        yield
    except (OperationalError, InterfaceError, InternalError, PoolTimeoutError) as error:
        raise ConfigurationError(
            f"The database can't be used: {reason(error)}. Is `wrapup up` running, or WRAPUP_DATABASE_URL right? "
            "`wrapup doctor` looks closer."
        ) from None
    except ProgrammingError as error:
        if not isinstance(error.orig, UndefinedTable | UndefinedColumn):
            raise
        raise ConfigurationError("The database is not migrated. Run `wrapup migrate`.") from None


def reason(error: Exception) -> str:
    """What the driver said, in one line, without the statement and its values."""
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    return said.rstrip(".")
