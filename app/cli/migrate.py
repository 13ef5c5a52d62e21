"""``wrapup migrate``: the database's schema, brought to this version's."""

from __future__ import annotations

import asyncio

from alembic.util import CommandError

from app.cli.beside import settings_for
from app.cli.options import AsJson, DataDir
from app.cli.printing import print_json
from app.cli.session import database_trouble_told
from app.domain.errors import ConfigurationError
from app.logging import configure_logging
from app.storage import schema
from app.storage.engine import make_engine


def migrate(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Bring the database to the newest schema. Run it as often as you like, also beside running processes."""
    settings = settings_for(data_dir)
    configure_logging("error", settings.log_format)
    with database_trouble_told():
        before, after = asyncio.run(_migrate(settings.require_database_url()))
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        print(f"{after}: nothing to do")
    else:
        print(f"{before or 'empty'} -> {after}")


async def _migrate(url: str) -> tuple[str | None, str | None]:
    engine = make_engine(url, name="migrate", pool_size=1)
    try:
        async with engine.connect() as connection:
            before = await schema.current(connection)
        await schema.upgrade(engine)
        async with engine.connect() as connection:
            return before, await schema.current(connection)
    except CommandError as error:
        raise ConfigurationError(
            f"The database can't be migrated: {error}. Was it migrated by a newer version of Wrapup? Run that one."
        ) from None
    finally:
        await engine.dispose()
