"""Brings the database to the newest schema, and tells whether it is there."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.storage.engine import PatientConnection

_MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
_LOCK = 0x5752_4150  # "WRAP": one migration at a time, whoever starts it


def _config() -> Config:
    config = Config()
    # The option goes through ConfigParser, to which a % in a path is the start of a name.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


@cache
def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def head() -> str:
    """The newest revision that this code knows."""
    return _script().get_current_head() or ""


def is_current(revision: str | None) -> bool:
    """True if this code can work with a database at ``revision``: the newest that it knows, or one made by newer code,
    which still fits (expand, then contract)."""
    known = {one.revision for one in _script().walk_revisions()}
    return revision == head() or (revision is not None and revision not in known)


async def current(connection: AsyncConnection) -> str | None:
    """The revision that the database is at, None if it is empty."""
    return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


async def upgrade(engine: AsyncEngine, revision: str = "head") -> None:
    """Migrates up to ``revision``. Several at once wait for each other; the second finds nothing to do."""
    await _migrate(engine, command.upgrade, revision)


async def downgrade(engine: AsyncEngine, revision: str) -> None:
    """Migrates down to ``revision`` ("base": an empty database)."""
    await _migrate(engine, command.downgrade, revision)


async def check(engine: AsyncEngine) -> None:
    """Raises if ``tables`` and the migrated schema say different things."""
    await _migrate(engine, lambda config, _: command.check(config), "")


async def _migrate(engine: AsyncEngine, run: object, revision: str) -> None:
    def under_lock(connection: Connection) -> None:
        # The advisory lock may take as long as the other's migration; the tables' locks may not, lest a migration
        # that waits for one long reader stops everybody behind it.
        driver = connection.connection.driver_connection
        assert isinstance(driver, PatientConnection)
        driver.patience, usual = None, driver.patience
        connection.execute(text("SET lock_timeout = 0; SET statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.commit()
        try:
            config = _config()
            config.attributes["connection"] = connection
            run(config, revision)  # type: ignore[operator]
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
            connection.execute(text("RESET lock_timeout; RESET statement_timeout"))
            connection.commit()
            driver.patience = usual

    async with engine.connect() as connection:
        await connection.run_sync(under_lock)
