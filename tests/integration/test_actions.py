"""What an operator does to one disposition: send it again, take it back."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from deliveries import CUSTOMER, UCID, ask, deliver, post, show, ucid

from app.domain.errors import NotFound, StateConflict
from app.sandbox import Sandbox
from app.services.keys import OPERATOR, Caller
from app.settings import Settings
from app.storage.events import came_from
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")


async def fail(services: Services, settings: Settings, **changes: object) -> UUID:
    """A disposition that CloudAgent refused: it does not know the agent."""
    disposition = await post(services, agent_id="unknown1", **changes)
    [failed] = await deliver(services, settings, [disposition])
    assert failed["cause"] == "invalid_agent"
    return disposition


async def test_a_failed_one_is_sent_again_with_all_its_tries_before_it(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    disposition = await fail(services, settings)
    sandbox.account(agents=["unknown1"])  # somebody added the agent in CloudAgent
    await services.actions.retry(disposition, OPERATOR, reason="agent added")
    again = await show(services, disposition)
    assert (again["state"], again["cause"], again["finished_at"]) == ("queued", None, None)
    [done] = await deliver(services, settings, [disposition])
    assert (done["state"], done["attempt_count"]) == ("delivered", 2)
    assert [event["action"] for event in done["events"]] == ["accepted", "failed", "retried", "delivered"]
    retried = done["events"][2]
    assert (retried["actor"], retried["from"], retried["to"], retried["reason"]) == (
        "cli",
        "failed",
        "queued",
        "agent added",
    )


async def test_an_old_one_is_not_sent_over_a_newer_one(services: Services, settings: Settings) -> None:
    old = await fail(services, settings)
    newer = await post(services)
    for _ in range(2):  # the newer one waiting, then delivered
        with pytest.raises(StateConflict, match=str(newer)):
            await services.actions.retry(old, OPERATOR)
        await deliver(services, settings, [newer])
    assert (await show(services, old))["state"] == "failed"


async def test_a_newer_one_that_was_cancelled_is_no_obstacle(services: Services, settings: Settings) -> None:
    old = await fail(services, settings)
    newer = await post(services)
    await services.actions.cancel(newer, OPERATOR)
    await services.actions.retry(old, OPERATOR)
    assert (await show(services, old))["state"] == "queued"


async def test_a_waiting_one_is_taken_back_and_never_sent(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    disposition = await post(services)
    await services.actions.cancel(disposition, OPERATOR, reason="wrong call")
    [other] = await deliver(services, settings, [await post(services, ucid(1))])
    assert other["state"] == "delivered"
    assert sandbox.seen(UCID) == []
    cancelled = await show(services, disposition)
    assert (cancelled["state"], cancelled["events"][-1]["reason"]) == ("cancelled", "wrong call")


async def test_one_that_shows_as_held_can_be_taken_back(services: Services) -> None:
    await services.accounts.hold(CUSTOMER, actor="test")
    disposition = await post(services)
    await services.actions.cancel(disposition, OPERATOR)
    assert (await show(services, disposition))["state"] == "cancelled"


async def test_what_its_state_does_not_allow_is_refused_with_the_state(services: Services, settings: Settings) -> None:
    waiting = await post(services)
    with pytest.raises(StateConflict, match="is queued"):
        await services.actions.retry(waiting, OPERATOR)
    await deliver(services, settings, [waiting])
    for act in (services.actions.retry, services.actions.cancel):
        with pytest.raises(StateConflict, match="is delivered"):
            await act(waiting, OPERATOR)


async def test_what_is_not_there_or_not_the_callers_is_not_found(services: Services) -> None:
    disposition = await post(services)
    stranger = Caller("client:stranger", frozenset({"operate"}), frozenset({"other"}))
    for caller, wanted in ((OPERATOR, uuid4()), (stranger, disposition)):
        with pytest.raises(NotFound):
            await services.actions.cancel(wanted, caller)


async def test_what_a_person_does_says_from_where(services: Services) -> None:
    one = await post(services)
    token = came_from.set("203.0.113.7")
    await services.actions.cancel(one, OPERATOR)
    await services.accounts.hold(CUSTOMER, actor="client:ops")
    came_from.reset(token)
    await services.accounts.release(CUSTOMER, actor="client:ops")
    rows = await ask(services, "SELECT action, address FROM events WHERE actor <> 'test' ORDER BY id")
    assert [(row.action, row.address) for row in rows] == [
        ("accepted", None),
        ("cancelled", "203.0.113.7"),
        ("account held", "203.0.113.7"),
        ("account released", None),
    ]
