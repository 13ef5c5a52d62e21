"""The API with two accounts, and two clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from callers import Api

from app.services.keys import Scope
from app.settings import Settings
from app.wiring import Services


@pytest.fixture
async def api(services: Services, settings: Settings) -> AsyncIterator[Api]:
    """The API with the accounts acme and globex."""
    async with AsyncExitStack() as stack:
        opened = Api(services, settings, stack)
        await opened.serve()
        for customer in ("acme", "globex"):
            await opened.account(customer)
        yield opened


@pytest.fixture
async def crm(api: Api) -> httpx.AsyncClient:
    """A client that submits and reads, for all accounts."""
    return await api.client(Scope.SUBMIT, Scope.READ, name="crm")


@pytest.fixture
async def boss(api: Api) -> httpx.AsyncClient:
    """A client that may do everything, for all accounts."""
    return await api.client(*Scope, name="boss")
