"""The counts behind ``/v1/stats`` equal what is in the tables, at any moment, whatever has happened."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest
from deliveries import CUSTOMER, ask, ms, open_account, post, pumping, settle, ucid
from sqlalchemy import text

from app.domain.filters import Filter
from app.sandbox import Sandbox
from app.services.keys import OPERATOR, Caller
from app.settings import Settings
from app.storage import reports
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")

MIX = "503=15,reset_after=10,error=10,unknown_fail=10,html=5,429=5,invalid_action=10"
OTHER = "other"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"retry_delays": [ms(5)], "max_attempts": 2})


async def the_counts_must_be_right(services: Services) -> None:
    """Compares the counts with ``count(*)``, at one moment, also while deliveries are under way."""
    async with services.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        counted = await reports.counts(connection)
        states = await connection.execute(
            text(
                "SELECT customer, concat_ws(':', state, cause) AS key, count(*) AS n "
                "FROM dispositions d JOIN accounts a ON a.id = d.account_id GROUP BY 1, 2"
            )
        )
        outcomes = await connection.execute(
            text(
                "SELECT customer, outcome AS key, count(*) AS n FROM attempts t JOIN accounts a ON a.id = t.account_id "
                "WHERE outcome IS NOT NULL GROUP BY 1, 2"
            )
        )
        for kind, rows in (("state", states), ("attempt", outcomes)):
            expected = {(row.customer, row.key): row.n for row in rows}
            assert {(row.account, row.key): row.n for row in counted if row.kind == kind} == expected


async def the_stats_must_be_right(services: Services) -> None:
    """Compares what ``/v1/stats`` gives with the list of dispositions, while nothing is under way."""
    await the_counts_must_be_right(services)
    stats = await services.reports.stats(OPERATOR)
    items = (await services.reports.page(Filter(), after=None, limit=1000)).items
    assert {state: n for state, n in stats["states"].items() if n} == Counter(str(one["state"]) for one in items)
    assert stats["causes"] == Counter(one["cause"] for one in items if one["cause"])
    for customer in {one["account"] for one in items}:
        mine = Counter(str(one["state"]) for one in items if one["account"] == customer)
        assert stats["accounts"][customer] == mine


async def test_the_stats_equal_the_tables_after_a_random_mix_folded_or_not(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    random = Random(7)
    await open_account(services, sandbox, OTHER)
    sandbox.misbehave(mix=MIX)
    await the_stats_must_be_right(services)
    async with pumping(settings) as deliverer:
        for _ in range(4):
            requests = [
                {"account": random.choice((CUSTOMER, OTHER)), "disposition": str(random.random())} for _ in range(30)
            ]
            await asyncio.gather(*(post(services, ucid(random.randrange(30)), **request) for request in requests))
            deliverer.pump.wake()
            await the_counts_must_be_right(services)
        await settle(services, deliverer)
        await services.accounts.hold(OTHER, actor="test")
        for number in range(5):
            await post(services, ucid(number), account=OTHER)
        await the_stats_must_be_right(services)
        await ask(services, "UPDATE dispositions SET expires_at = now() WHERE state = 'queued' AND seq % 2 = 0")
        await deliverer.upkeep.tick()  # expires, and folds
        [row] = await ask(services, "SELECT count(*) FROM count_deltas")
        assert row.count == 0
        await the_stats_must_be_right(services)
        await services.accounts.release(OTHER, actor="test")
        await settle(services, deliverer)
        await the_stats_must_be_right(services)
    assert len((await services.reports.stats(OPERATOR))["outcomes"]) > 4, "the mix was no mix"


async def test_the_latencies_add_up_to_the_attempts_that_ended(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.misbehave(latency="1ms-60ms")
    for number in range(20):
        await post(services, ucid(number))
    async with pumping(settings) as deliverer:
        await settle(services, deliverer)
        await deliverer.upkeep.tick()
    rows = await ask(services, "SELECT key, n FROM counts WHERE kind = 'latency'")
    exact = [row.latency_ms for row in await ask(services, "SELECT latency_ms FROM attempts")]
    bounds = [0, 5, 10, 25, 50, 100, 250, 500, 1000]
    for low, high in zip([-1, *bounds[1:]], bounds[1:], strict=False):
        counted = sum(row.n for row in rows if row.key == str(high))
        assert counted == sum(low < latency <= high for latency in exact)
    [total] = await ask(services, "SELECT n FROM counts WHERE kind = 'latency_ms'")
    assert total.n == sum(exact)


async def test_a_caller_counts_its_own_accounts_only(services: Services, sandbox: Sandbox) -> None:
    await open_account(services, sandbox, OTHER)
    await post(services)
    await post(services, account=OTHER)
    stats = await services.reports.stats(Caller("client:crm", frozenset({"read"}), frozenset({OTHER})))
    assert (stats["states"]["queued"], list(stats["accounts"])) == (1, [OTHER])
