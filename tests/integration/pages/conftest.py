"""The pages, with an account at a CloudAgent that answers, and one that is on hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from visitors import API_KEY, Pages

from app.sandbox import Sandbox
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.settings import Settings
from app.wiring import Services


@pytest.fixture
async def cloudagent() -> AsyncIterator[Sandbox]:
    async with Sandbox(api_key=API_KEY, customer="acme") as running:
        yield running


@pytest.fixture
async def pages(services: Services, settings: Settings, cloudagent: Sandbox) -> AsyncIterator[Pages]:
    """The pages with the accounts acme and globex; globex is on hold."""
    async with AsyncExitStack() as stack:
        opened = Pages(services, settings, stack)
        await opened.serve()
        for customer in ("acme", "globex"):
            await services.accounts.set(customer, AccountSettings(Secret(API_KEY), cloudagent.url), actor="test")
        await services.accounts.hold("globex", actor="test", reason="<b>maintenance</b>")
        yield opened
