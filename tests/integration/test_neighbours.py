"""Accounts don't harm each other: whoever hangs, the others go on; and whoever has much, the others get their share.

``make bench-neighbours`` measures the same with real processes and CloudAgent's whole deadline.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest
from deliveries import CUSTOMER, ask, open_account, post, pumping, settle, ucid, until

from app.sandbox import Sandbox
from app.settings import Settings
from app.wiring import Deliverer, Services

pytestmark = pytest.mark.usefixtures("account")

THEY_WAIT = """
    WITH call AS (
        INSERT INTO calls (account_id, ucid, last_seq, next_at)
        SELECT accounts.id, (2000000000000000 + n)::text, 1, clock_timestamp()
        FROM accounts, generate_series(1, CAST(:many AS int)) n WHERE customer LIKE :customer
        RETURNING id, account_id, ucid)
    INSERT INTO dispositions
        (id, call_id, seq, account_id, ucid, did, agent_id, disposition, state, max_age_seconds, expires_at)
    SELECT uuidv7(), id, 1, account_id, ucid, '1', 'a17', 'Sale', 'queued', 3600, now() + interval '1 hour' FROM call
"""


@pytest.mark.parametrize(("hanging", "waiting"), [(1, 10_000), (12, 1_000), (20, 500)])
async def test_accounts_that_hang_on_every_call_delay_no_other(
    services: Services, settings: Settings, sandbox: Sandbox, hanging: int, waiting: int
) -> None:
    deadline = 3.0
    settings = settings.model_copy(update={"call_deadline_seconds": deadline})
    for number in range(hanging):
        await open_account(services, sandbox, f"hanging{number}")
        sandbox.misbehave(f"hanging{number}", mix="hang=100")
    await ask(services, THEY_WAIT, many=waiting, customer="hanging%")
    async with pumping(settings) as first, pumping(settings, kind="scheduler") as second:
        # Twelve accounts with fifty calls each would take all the slots of both for the whole deadline.
        await sandbox.arrivals(50)
        began, number = time.monotonic(), 0
        while time.monotonic() < began + 2 * deadline:  # while they are new, and while they are in doubt
            await post(services, ucid(number))
            for deliverer in (first, second):
                deliverer.pump.wake()
            number += 1
            await asyncio.sleep(0.02)
        await nothing_is_left_of(services, CUSTOMER, first, second)  # hanging up would cut its calls, too
        sandbox.hang_up()
        await hold_all_but(services, CUSTOMER)
        await settle(services, first, second)
    rows = await ask(
        services,
        "SELECT extract(epoch FROM finished_at - dispositions.created_at)::float8 AS took FROM dispositions "
        "JOIN accounts ON accounts.id = account_id WHERE customer = :customer AND state = 'delivered' ORDER BY 1",
        customer=CUSTOMER,
    )
    took = [row.took * 1000 for row in rows]
    p99 = took[int(len(took) * 0.99)]
    print(f"{hanging} hang: {len(took)} delivered, p50 {statistics.median(took):.0f} ms, p99 {p99:.0f} ms")
    assert len(took) == number
    assert p99 < 1000


async def nothing_is_left_of(services: Services, customer: str, *deliverers: Deliverer) -> None:
    """Wakes the pumps until all of these accounts is delivered."""

    async def done() -> bool:
        for deliverer in deliverers:
            deliverer.pump.wake()
        left = (
            "SELECT FROM dispositions JOIN accounts ON accounts.id = account_id "
            "WHERE customer LIKE :customer AND finished_at IS NULL LIMIT 1"
        )
        return not await ask(services, left, customer=customer)

    await until(done)


async def hold_all_but(services: Services, customer: str) -> None:
    await ask(services, "UPDATE accounts SET hold_cause = 'operator' WHERE customer <> :customer", customer=customer)


async def test_accounts_with_equal_need_are_done_at_the_same_time_whatever_the_others_have(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    for number in range(20):
        for size in ("small", "large"):
            await open_account(services, sandbox, f"{size}{number}")
    sandbox.misbehave(latency="10ms")
    await ask(services, THEY_WAIT, many=150, customer="large%")
    await ask(services, THEY_WAIT, many=20, customer="small%")
    settings = settings.model_copy(update={"calls_in_flight": 30})  # fewer than there are accounts

    async with pumping(settings) as first, pumping(settings, kind="scheduler") as second:
        await nothing_is_left_of(services, "small%", first, second)
        served = await ask(
            services,
            """
            WITH sent AS (SELECT customer, attempts.started_at, attempts.finished_at
                          FROM attempts JOIN accounts ON accounts.id = account_id),
            first_done AS (SELECT max(finished_at) AS at FROM sent WHERE customer LIKE 'small%'
                           GROUP BY customer ORDER BY 1 LIMIT 1)
            SELECT customer, count(finished_at) AS n, count(*) FILTER (WHERE started_at <= first_done.at) AS by_then
            FROM sent CROSS JOIN first_done GROUP BY customer
            """,
        )
        await hold_all_but(services, CUSTOMER)
    progress = [row.by_then for row in served if row.customer.startswith("small")]
    print(f"when the first had had its 20 calls, the others had had {min(progress)} at least")
    assert len(progress) == 20
    assert min(progress) >= 20 / 1.5  # counted, not timed: the machine may stand still in between
    shares = [row.n for row in served if row.customer.startswith("large")]
    print(f"meanwhile those with much got {min(shares)} to {max(shares)}")
    assert len(shares) == 20
    assert max(shares) <= 2 * 20, "nobody takes more than his turn"
