"""The settings of a command that is run beside a ``wrapup up``, or without one."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from app.embedded.data_dir import secret_key
from app.embedded.servers import Servers
from app.settings import Settings, load_settings


def settings_for(data_dir: Path | None) -> Settings:
    """The settings from the environment; what is not set there is that of the ``wrapup up`` on the data dir.

    Not if the environment names a database that is not that one's: two installations are never mixed.
    """
    settings = load_settings(**({} if data_dir is None else {"data_dir": data_dir}))
    servers = Servers.read(settings.data_dir)
    if servers is None or settings.database_url not in (None, SecretStr(servers.database_url)):
        return settings
    beside = {"database_url": servers.database_url, "broker_url": servers.broker_url}
    if (settings.data_dir / "secret.key").exists():  # if not, `wrapup up` was given one
        beside["secret_keys"] = secret_key(settings.data_dir)
    missing = {name: SecretStr(value) for name, value in beside.items() if getattr(settings, name) is None}
    return settings.model_copy(update=missing)


def environment(settings: Settings) -> dict[str, str]:
    """The variables from which another process reads where it works, as this one does."""
    return {
        "WRAPUP_DATABASE_URL": settings.require_database_url(),
        "WRAPUP_BROKER_URL": settings.require_broker_url(),
        "WRAPUP_SECRET_KEYS": ",".join(settings.require_secret_keys()),
        "WRAPUP_DATA_DIR": str(settings.data_dir.absolute()),
    }
