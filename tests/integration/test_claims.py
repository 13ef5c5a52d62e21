"""Claims at the same time: they share the accounts that have much to send, and wait only where there is no other."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

from deliveries import ask, open_account, post, ucid, until
from sqlalchemy.ext.asyncio import AsyncConnection

from app.sandbox import Sandbox
from app.storage import calls
from app.storage.calls import Claim
from app.wiring import Services


async def claim(connection: AsyncConnection, room: int) -> Claim:
    return await calls.claim(connection, room=room, most=room, lease=timedelta(seconds=30), worker="test")


async def test_claims_of_many_accounts_share_them_and_none_waits(services: Services, sandbox: Sandbox) -> None:
    customers = [f"customer{number}" for number in range(10)]
    for customer in customers:
        await open_account(services, sandbox, customer)
        for number in range(3):
            await post(services, ucid(number), account=customer)
    async with services.engine.connect() as one, services.engine.connect() as other:
        first = await claim(one, 15)
        second = await claim(other, 100)  # it would never come back if it waited: the first one is open still
    assert sorted(Counter(delivery.customer for delivery in first.deliveries).values()) == [3] * 5
    taken = [{delivery.customer for delivery in claimed.deliveries} for claimed in (first, second)]
    assert len(taken[1]) == 5, "the others"
    assert not taken[0] & taken[1]
    assert len(first.full) == 10, "of the five that were taken and the five that were not there may be more"


async def test_a_claim_of_what_another_one_has_locked_waits_and_takes_what_it_left(
    services: Services, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox, "only")
    for number in range(3):
        await post(services, ucid(number), account="only")
    async with services.engine.connect() as one, services.engine.connect() as other:
        first = await claim(one, 1)
        second = asyncio.create_task(claim(other, 5))
        await until(lambda: ask(services, "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        await one.commit()
        assert len(first.deliveries) == 1
        assert len((await second).deliveries) == 2
