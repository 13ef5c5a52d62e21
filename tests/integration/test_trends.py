"""The last hour, minute by minute."""

from __future__ import annotations

import pytest
from deliveries import ask, deliver, post, pumping, ucid

from app.services.health import LATENCY_BUCKETS_MS
from app.services.keys import OPERATOR, Caller
from app.services.trends import MINUTES, percentile
from app.settings import Settings
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")


async def fold(settings: Settings) -> None:
    """What the scheduler does each second."""
    async with pumping(settings) as deliverer:
        await deliverer.upkeep.tick()


@pytest.mark.parametrize("folded", [False, True])
async def test_it_has_what_happened_just_now(services: Services, settings: Settings, folded: bool) -> None:
    made = [await post(services, ucid(number)) for number in range(3)]
    made.append(await post(services, ucid(9), agent_id="unknown-1"))
    await deliver(services, settings, made)
    if folded:
        await fold(settings)
    trend = await services.trends.last_hour(OPERATOR)
    assert len(trend.minutes) == len(trend.came_in) == MINUTES
    assert sum(trend.came_in) == 4
    assert sum(trend.delivered) == 3
    assert sum(trend.failed) == 1
    assert trend.outcomes == {"saved": 3, "invalid_agent": 1}
    assert any(value is not None for value in trend.latency_ms[95])


async def test_how_much_waits_is_noted_once_a_minute(services: Services, settings: Settings) -> None:
    await services.accounts.hold("sandbox", actor="test")
    for number in range(2):
        await post(services, ucid(number))
    await fold(settings)
    await post(services, ucid(3))
    await fold(settings)
    trend = await services.trends.last_hour(OPERATOR)
    assert [count for count in trend.waiting if count] in ([2], [2, 3])  # a minute may have begun in between


async def test_it_is_of_the_callers_accounts_and_of_the_last_hour_only(services: Services, settings: Settings) -> None:
    await deliver(services, settings, [await post(services)])
    stranger = Caller("client:other", frozenset({"read"}), frozenset({"globex"}))
    assert sum((await services.trends.last_hour(stranger)).came_in) == 0
    await fold(settings)
    await ask(services, "UPDATE counts_by_minute SET minute = minute - interval '60 minutes'")
    trend = await services.trends.last_hour(OPERATOR)
    assert (sum(trend.came_in), trend.outcomes) == (0, {})


def test_percentiles_are_read_from_the_buckets() -> None:
    assert percentile({}, 95) is None
    assert percentile({"10": 100}, 50) == 7.5  # half way from 5 to 10
    assert percentile({"5": 50, "100": 50}, 50) == 5
    assert percentile({"5": 50, "100": 50}, 99) == pytest.approx(50 + 50 * 49 / 50)
    assert percentile({"inf": 1}, 50) == LATENCY_BUCKETS_MS[-1]
