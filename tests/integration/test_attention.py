"""What needs a person now, the most pressing first; and nothing else does."""

from __future__ import annotations

import pytest
from deliveries import CUSTOMER, ask, post, pumping, ucid

from app.services.attention import FAILURES_SHOWN, LATE_SECONDS, Kind, Need
from app.services.keys import OPERATOR, Caller
from app.settings import Settings
from app.storage.failures import Wanted
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")


async def needs(services: Services, caller: Caller = OPERATOR) -> list[Need]:
    return [*await services.attention.needs(caller, await services.reports.stats(caller))]


async def somebody_delivers(services: Services) -> None:
    """A worker's heartbeat."""
    await ask(
        services,
        "INSERT INTO processes (id, kind, name, consumed_at) VALUES (gen_random_uuid(), 'worker', 'w', now())",
    )


async def fail(services: Services, number: int, agent: str) -> None:
    made = await post(services, ucid(number), agent_id=agent)
    await ask(services, "UPDATE dispositions SET state = 'failed', cause = 'invalid_agent' WHERE id = :id", id=made)


async def test_nothing_does_while_all_is_well(services: Services) -> None:
    await somebody_delivers(services)
    await post(services)
    assert await needs(services) == []


async def test_nobody_who_delivers_comes_first_then_holds_then_delays_then_failures(services: Services) -> None:
    await fail(services, 1, "x7")
    await post(services, ucid(2))
    await ask(services, "UPDATE calls SET next_at = next_at - interval '2 minutes'")
    found = await needs(services)
    assert [need.kind for need in found] == [Kind.NOBODY_DELIVERS, Kind.LATE, Kind.FAILURE]
    assert found[1].seconds > LATE_SECONDS
    await somebody_delivers(services)
    await services.accounts.hold(CUSTOMER, actor="test", reason="maintenance")
    hold, failure = await needs(services)  # what is on hold is not late
    assert (hold.kind, hold.count) == (Kind.HOLD, 1)
    assert hold.about is not None
    assert "release it" in hold.about["hint"]
    assert (failure.kind, failure.count) == (Kind.FAILURE, 1)


async def test_a_failure_that_somebody_knows_needs_nobody_until_it_comes_back(
    services: Services, settings: Settings
) -> None:
    await somebody_delivers(services)
    await fail(services, 1, "x7")
    await fail(services, 2, "x8")
    [one, _] = (await services.failures.all(Wanted(), limit=2)).failures
    await services.failures.acknowledge(one["id"], OPERATOR, note="ticket 4711")
    assert [need.about and need.about["value"] for need in await needs(services)] == [
        {"x7": "x8", "x8": "x7"}[one["value"]]
    ]
    await fail(services, 3, one["value"])
    async with pumping(settings) as deliverer:
        await deliverer.upkeep.tick()
    assert {need.about and need.about["value"] for need in await needs(services)} == {"x7", "x8"}


async def test_an_account_without_an_answer_needs_somebody_while_something_waits_for_it(services: Services) -> None:
    await somebody_delivers(services)
    await ask(services, "UPDATE lanes SET doubt = 'breaker', probe_at = clock_timestamp()")
    assert await needs(services) == []
    await post(services)
    [need] = await needs(services)
    assert (need.kind, need.count) == (Kind.NO_ANSWER, 1)
    assert need.about is not None
    assert (need.about["account"], need.about["owner"]) == (CUSTOMER, "cloudagent")
    assert await needs(services, Caller("client:other", frozenset({"read"}), frozenset({"globex"}))) == []
    await ask(services, "UPDATE lanes SET doubt = 'credentials'")  # a probe is under way
    assert await needs(services) == []


async def test_how_many_more_failures_there_are_is_told(services: Services) -> None:
    await somebody_delivers(services)
    for number in range(FAILURES_SHOWN + 2):
        await fail(services, number, f"x{number}")
    *shown, more = await needs(services)
    assert [need.kind for need in shown] == [Kind.FAILURE] * FAILURES_SHOWN
    assert (more.kind, more.count) == (Kind.MORE_FAILURES, 2)


async def test_what_is_not_the_callers_needs_somebody_else(services: Services) -> None:
    await somebody_delivers(services)
    await services.accounts.hold(CUSTOMER, actor="test")
    await fail(services, 1, "x7")
    assert await needs(services, Caller("client:other", frozenset({"read"}), frozenset({"globex"}))) == []
