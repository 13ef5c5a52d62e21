"""The lease of a call, by the database's clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from deliveries import API_KEY, CUSTOMER, ms, open_account, post
from sqlalchemy import text

from app.sandbox import Sandbox
from app.storage import calls
from app.wiring import Services


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(api_key=API_KEY, customer=CUSTOMER) as running:
        yield running


async def test_a_lease_counts_from_its_claim_however_long_its_transaction_has_been_open(
    services: Services, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox)
    await post(services)
    lease = timedelta(seconds=3)
    async with services.engine.begin() as connection:
        await connection.execute(text("SELECT pg_sleep(0.3)"))  # as long as one may wait for an account's lock
        before = await connection.scalar(text("SELECT clock_timestamp()"))
        assert before is not None
        [delivery] = (await calls.claim(connection, room=1, most=1, lease=lease, worker="test")).deliveries
        after = await connection.scalar(text("SELECT clock_timestamp()"))
        assert after is not None
    assert before + lease <= delivery.lease_until <= after + lease + ms(1)
    assert before <= delivery.started_at <= after
