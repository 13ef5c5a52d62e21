"""What ``wrapup doctor`` looks at, each thing by itself, so that one fault hides no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kombu.connection import Connection
from kombu.exceptions import KombuError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.broker import TRANSPORT_OPTIONS
from app.cli.session import reason
from app.cloudagent.addresses import check_base_url, check_path
from app.domain.errors import ConfigurationError, InvalidInput
from app.secrets import Cipher
from app.settings import Settings
from app.storage import accounts, processes, reports, schema
from app.storage.accounts import Account
from app.storage.engine import make_engine
from app.wiring import address_policy

_OLDEST_POSTGRES = 18
_SEEN_WITHIN = timedelta(seconds=15)  # they say so every second
_MOST_APART = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one check. ``todo`` says how to mend what is not ok."""

    check: str
    ok: bool
    found: str
    todo: str | None = None


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Every finding, as soon as it is there. What needs the database is left out without one."""
    cipher, about_keys = _cipher(settings)
    yield about_keys
    yield await asyncio.to_thread(_broker, settings)
    try:
        engine = make_engine(settings.require_database_url(), name="doctor", pool_size=1)
    except ConfigurationError as error:
        yield Finding("database", False, "not set", str(error))
        return
    try:
        async with engine.connect() as connection:
            yield _version(connection)
            migrated = await _migrations(connection)
            yield migrated
            if migrated.ok:
                async for finding in _contents(connection, settings, cipher):
                    yield finding
    except (OperationalError, InterfaceError) as error:
        yield Finding("database", False, reason(error), "Start it, or set WRAPUP_DATABASE_URL to where it is.")
    finally:
        await engine.dispose()


def _cipher(settings: Settings) -> tuple[Cipher | None, Finding]:
    try:
        keys = settings.require_secret_keys()
        cipher = Cipher(keys)
    except ConfigurationError as error:
        return None, Finding("secret keys", False, "missing or wrong", str(error))
    return cipher, Finding("secret keys", True, f"{len(keys)}")


def _broker(settings: Settings) -> Finding:
    try:
        url = settings.require_broker_url()
    except ConfigurationError as error:
        return Finding("broker", False, "not set", str(error))
    try:
        with Connection(url, connect_timeout=1, transport_options=TRANSPORT_OPTIONS) as connection:  # type: ignore[no-untyped-call]
            connection.ensure_connection(max_retries=1, timeout=2)
    except KombuError as error:
        return Finding("broker", False, reason(error), "Start it, or set WRAPUP_BROKER_URL to where it is.")
    except KeyError:
        return Finding("broker", False, "of an unknown kind", "WRAPUP_BROKER_URL is written like redis://HOST:6379/0")
    return Finding("broker", True, "answers")


def _version(connection: AsyncConnection) -> Finding:
    version = connection.dialect.server_version_info or (0,)
    found = "PostgreSQL " + ".".join(map(str, version))
    if int(version[0]) >= _OLDEST_POSTGRES:
        return Finding("database", True, found)
    return Finding("database", False, found, f"Wrapup needs PostgreSQL {_OLDEST_POSTGRES} or later.")


async def _migrations(connection: AsyncConnection) -> Finding:
    current, head = await schema.current(connection), schema.head()
    if current == head:
        return Finding("migrations", True, head)
    return Finding("migrations", False, f"{current or 'none'}, and this version has {head}", "Run `wrapup migrate`.")


async def _contents(connection: AsyncConnection, settings: Settings, cipher: Cipher | None) -> AsyncIterator[Finding]:
    """The checks that read tables."""
    known = await accounts.read_all(connection)
    if not known:
        todo = "Make one: `wrapup accounts set CUSTOMER --api-key-stdin`."
        yield Finding("accounts", True, f"none yet. {todo}")
    for account in known:
        yield _account(account, settings, cipher)
    seen = {one.kind for one in await processes.seen(connection, _SEEN_WITHIN)}
    for kind in ("worker", "scheduler"):
        yield (
            Finding(kind, True, "alive")
            if kind in seen
            else Finding(kind, False, f"none for {_SEEN_WITHIN.seconds} s", f"Start one: `wrapup {kind}`.")
        )
    apart = await reports.database_time(connection) - datetime.now(UTC)
    yield Finding(
        "clock",
        abs(apart) <= _MOST_APART,
        f"{apart.total_seconds():+.3f} s from the database's",
        "Set both machines' clocks by NTP." if abs(apart) > _MOST_APART else None,
    )


def _account(account: Account, settings: Settings, cipher: Cipher | None) -> Finding:
    check = f"account {account.customer}"
    try:
        if cipher is not None:
            cipher.decrypt(account.api_key)
        check_base_url(account.base_url, address_policy(settings))
        if account.path is not None:
            check_path(account.path)
    except ConfigurationError as error:
        return Finding(check, False, "its apiKey can't be read", str(error))
    except InvalidInput as error:
        todo = f"Set it: `wrapup accounts set {account.customer} --base-url … --path …`."
        return Finding(check, False, str(error), todo)
    hold = f", on hold: {account.hold_cause}" if account.on_hold else ""
    return Finding(check, True, f"{account.base_url}{hold}")
