"""Wrapup's processes on servers of the test's own, which it may kill, and a CloudAgent that it steers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.sandbox import Sandbox
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.keys import Scope
from app.settings import Settings
from app.wiring import Services
from tests.faults.servers import Broker
from tests.installation import Wrapup

API_KEY = "KK0123456789abcdef"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """The test's own Valkey."""
    valkey = Broker(tmp_path / "broker")
    valkey.start()
    yield valkey
    valkey.stop()


@pytest.fixture
def broker_url(broker: Broker) -> str:
    """Where it is."""
    return broker.url


@pytest.fixture
def wrapup(tmp_path: Path, settings: Settings) -> Iterator[Wrapup]:
    """The command ``wrapup`` on this test's servers."""
    variables = {
        "WRAPUP_DATABASE_URL": settings.require_database_url(),
        "WRAPUP_BROKER_URL": settings.require_broker_url(),
        "WRAPUP_SECRET_KEYS": ",".join(settings.require_secret_keys()),
    }
    command = Wrapup(tmp_path / "processes", variables)
    yield command
    command.end()


@pytest.fixture
async def cloudagent(services: Services) -> AsyncIterator[Sandbox]:
    """CloudAgent, with the account ``acme``, which Wrapup knows, too."""
    async with Sandbox(api_key=API_KEY, customer="acme") as running:
        await services.accounts.set("acme", AccountSettings(Secret(API_KEY), running.url), actor="test")
        yield running


@pytest.fixture
async def key(services: Services) -> str:
    """A key that may post and read."""
    return await services.keys.create("crm", (Scope.SUBMIT, Scope.READ), actor="test")
