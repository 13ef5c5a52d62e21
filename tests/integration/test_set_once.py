"""V2 sets a call's disposition once. "Already disposed" is a delivery only if nobody but this disposition can have
done it."""

from __future__ import annotations

import pytest
from deliveries import CUSTOMER, UCID, deliver, ms, open_account, post
from reply_cases import call_holds

from app.sandbox import Sandbox
from app.services.accounts import AccountSettings
from app.services.keys import OPERATOR
from app.settings import Settings
from app.wiring import Services


@pytest.fixture
async def account(services: Services, sandbox: Sandbox) -> None:
    await open_account(services, sandbox, api="v2-json-key")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"retry_delays": [ms(10)], "max_attempts": 3})


@pytest.mark.usefixtures("account")
async def test_our_own_attempt_that_landed_unseen_is_a_delivery(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(UCID, "reset_after")
    [shown] = await deliver(services, settings, [await post(services)])
    assert (shown["state"], shown["outcome"]) == ("delivered", "confirmed_by_conflict")
    assert [attempt["certainty"] for attempt in shown["attempts"]] == ["sent_unknown", "answered"]
    assert shown["attempts"][1]["reply_details"] == "This call is already Disposed."


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("older", "first"),
    [("ok", "delivered"), ("503,reset_before*", "failed"), ("reset_after,reset_before*", "failed"), ("500*", "failed")],
)
async def test_what_an_older_disposition_may_have_done_is_not_ours(
    services: Services, settings: Settings, sandbox: Sandbox, older: str, first: str
) -> None:
    """CloudAgent holds the older one, or may do so: to call this one delivered would be a lie, or a guess."""
    sandbox.script(UCID, older)
    [shown] = await deliver(services, settings, [await post(services, disposition="Sale")])
    assert shown["state"] == first
    call = sandbox.call(UCID)
    landed = call is not None and call.held is not None
    sandbox.script(UCID, "reset_before" if landed else "reset_after")
    [shown] = await deliver(services, settings, [await post(services, disposition="Call back")])
    assert (shown["state"], shown["outcome"], shown["cause"]) == ("failed", "already_disposed", "already_disposed")


@pytest.mark.usefixtures("account")
async def test_what_was_disposed_before_our_unknown_attempt_is_not_ours(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    """An agent disposed of the call by hand; an operator has ours sent again, and that attempt gets no answer."""
    call_holds()(sandbox, CUSTOMER, UCID)
    one = await post(services)
    await deliver(services, settings, [one])
    sandbox.script(UCID, "reset_before")
    await services.actions.retry(one, OPERATOR)
    [shown] = await deliver(services, settings, [one])
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["already_disposed", "no_reply", "already_disposed"]
    assert shown["state"] == "failed"


async def test_what_v3_left_open_is_confirmed_after_the_change_to_v2(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox)
    sandbox.script(UCID, "reset_after,503*2")
    one = await post(services)
    [shown] = await deliver(services, settings, [one])
    assert shown["cause"] == "attempts_exhausted"
    await services.accounts.set(CUSTOMER, AccountSettings(api="v2-json-key"), actor="test")
    await services.actions.retry(one, OPERATOR)
    [shown] = await deliver(services, settings, [one])
    assert shown["outcome"] == "confirmed_by_conflict"
