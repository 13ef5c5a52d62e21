"""One floor for the tests of a module, and a browser for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from floor import Floor, browsing, chromium
from playwright.async_api import Browser

from tests.installation import Wrapup


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    """Wrapup as its users start it, with quick retries."""
    chromium()
    command = Wrapup(tmp_path_factory.mktemp("floor"), {"WRAPUP_RETRY_DELAYS": "300ms,30s"})
    up = command.up("--sandbox", "--worker-processes=1")
    asyncio.run(up.ready())
    yield Floor(command, up)
    command.end()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as running:
        yield running
