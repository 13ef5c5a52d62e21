"""The stand-in with an account that Wrapup knows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from cryptography.fernet import Fernet
from deliveries import API_KEY, open_account
from reply_cases import ATTEMPTS

from app.embedded.throwaway import ThrowawayServers
from app.sandbox import Sandbox
from app.settings import Settings
from app.wiring import Services, open_services


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """CloudAgent's stand-in."""
    async with Sandbox(api_key=API_KEY) as running:
        yield running


@pytest.fixture
async def account(services: Services, sandbox: Sandbox) -> None:
    """The account of ``deliveries.CUSTOMER``, at the stand-in and here."""
    await open_account(services, sandbox)


@pytest.fixture
async def neighbour(settings: Settings) -> AsyncIterator[Services]:
    """The services of a second API process, but for the process."""
    async with open_services(settings, name="neighbour") as opened:
        yield opened


@pytest.fixture(scope="module")
def settings_of_module(database_of_module: str, servers: ThrowawayServers) -> Settings:
    """Settings for tests that look at what was done once, with repeats that come at once."""
    return Settings(
        database_url=database_of_module,
        broker_url=servers.broker_url,
        secret_keys=Fernet.generate_key().decode(),
        retry_delays="10ms",
        breaker_pauses="10ms",
        max_attempts=ATTEMPTS,
    )
