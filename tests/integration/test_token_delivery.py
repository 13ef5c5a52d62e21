"""Delivering with tokens: one that ends costs a repeat and no try, one that can't be had is waited for, and nobody
else waits with."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pytest
from deliveries import CUSTOMER, UCID, ask, deliver, ms, open_account, post, pumping, settle, show, ucid, until

from app.sandbox import Sandbox
from app.sandbox.log import Request
from app.settings import Settings
from app.wiring import Services

TOKEN = "/ca_apis/CAToken/generateToken"
DISPOSITION = "/ca_apis/dispositionAPIV2"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"retry_delays": [ms(10)]})


@pytest.fixture
async def account(services: Services, sandbox: Sandbox) -> None:
    await open_account(services, sandbox, api="v2-json-token")


def token_requests(sandbox: Sandbox) -> list[Request]:
    return [request for request in sandbox.log if request.path == TOKEN]


def somebody_else_makes_one(sandbox: Sandbox) -> None:
    sandbox.gate.generate_token(sandbox.gate.accounts[CUSTOMER], time.time())


async def tries(services: Services) -> set[int]:
    return {row.tries for row in await ask(services, "SELECT tries FROM dispositions")}


def outcomes(shown: dict[str, Any]) -> list[str]:
    return [attempt["outcome"] for attempt in shown["attempts"]]


def every_arrival_has_its_attempt(sandbox: Sandbox, whole: list[dict[str, Any]]) -> None:
    """At the disposition API, that is: attempts without a token did not get there."""
    arrived = [str(attempt["id"]) for one in whole for attempt in one["attempts"] if attempt["certainty"] != "not_sent"]
    requests = [request.request_id for request in sandbox.log if request.path == DISPOSITION]
    assert sorted(map(str, requests)) == sorted(arrived)


async def test_many_dispositions_go_out_with_one_token_through_several_workers(
    services: Services, settings: Settings, sandbox: Sandbox, account: None
) -> None:
    ids = [await post(services, ucid(number)) for number in range(100)]
    async with pumping(settings) as one, pumping(settings) as other:
        await settle(services, one, other)
    whole = [await show(services, each) for each in ids]
    assert {tuple(outcomes(each)) for each in whole} == {("saved",)}
    assert len(token_requests(sandbox)) == 1
    assert {request.credential for request in sandbox.log if request.path == DISPOSITION} == {"token"}


async def test_a_token_that_somebody_else_ended_costs_one_repeat_and_no_try(
    services: Services, settings: Settings, sandbox: Sandbox, account: None
) -> None:
    await deliver(services, settings, [await post(services)])
    somebody_else_makes_one(sandbox)
    whole = await deliver(services, settings, [await post(services, ucid(number)) for number in range(1, 60)])
    assert {one["state"] for one in whole} == {"delivered"}
    assert {tuple(outcomes(one)) for one in whole} <= {("token_expired", "saved"), ("saved",)}
    assert ["token_expired", "saved"] in [outcomes(one) for one in whole]
    refused = next(attempt for one in whole for attempt in one["attempts"] if attempt["outcome"] == "token_expired")
    assert (refused["certainty"], refused["reply_details"]) == ("answered", "Invalid Token")
    assert await tries(services) == {1}
    assert len(token_requests(sandbox)) == 2
    every_arrival_has_its_attempt(sandbox, [await show(services, row.id) for row in await ask(services, ALL)])


async def test_two_workers_with_the_old_token_in_memory_repeat_once_each(
    services: Services, settings: Settings, sandbox: Sandbox, account: None
) -> None:
    """Neither refuses the new one, and neither sends the old one again."""
    async with pumping(settings) as one, pumping(settings) as other:
        await post(services)
        await settle(services, one, other)
        await post(services, ucid(1))
        await settle(services, other)
        somebody_else_makes_one(sandbox)
        ids = [await post(services, ucid(number)) for number in range(10, 50)]
        await settle(services, one, other)
    for each in ids:
        assert outcomes(await show(services, each)) in (["token_expired", "saved"], ["saved"])
    assert await tries(services) == {1}


async def test_one_that_is_never_taken_holds_the_account_after_one_more_and_spends_no_try(
    services: Services, settings: Settings, sandbox: Sandbox, account: None
) -> None:
    """If our reading of "Authorization" is wrong, for one: not the hour's ten and all tries are used up, but two."""
    for number in range(5):
        sandbox.script(ucid(number), "401*")
    whole = await deliver(services, settings, [await post(services, ucid(number)) for number in range(5)])
    assert {one["state"] for one in whole} == {"held"}
    account_now = await services.accounts.get(CUSTOMER)
    assert account_now.hold_cause == "authentication_failed"
    assert "a token that was just made is refused" in str(account_now.hold_reason)
    assert await tries(services) == {0}
    assert len(token_requests(sandbox)) == 2


async def test_a_wrong_key_holds_the_account_like_any_other_and_nothing_is_sent(
    services: Services, settings: Settings, sandbox: Sandbox, account: None
) -> None:
    sandbox.account(CUSTOMER, api_key="another")
    [shown] = await deliver(services, settings, [await post(services)])
    assert shown["state"] == "held"
    assert set(outcomes(shown)) == {"authentication_failed"}
    assert {attempt["certainty"] for attempt in shown["attempts"]} == {"not_sent"}
    assert shown["attempts"][-1]["reply_details"] == "no token: Invalid userName or apiKey"
    assert (await services.accounts.get(CUSTOMER)).hold_cause == "authentication_failed"
    assert {request.path for request in sandbox.log} == {TOKEN}
    every_arrival_has_its_attempt(sandbox, [shown])


async def test_when_the_hours_ten_are_used_up_all_wait_without_a_try_until_one_is_free(
    services: Services, settings: Settings, sandbox: Sandbox, account: None
) -> None:
    await ask(
        services,
        "INSERT INTO tokens (account_id, asked) SELECT id, array_fill(clock_timestamp(), ARRAY[10]) FROM accounts",
    )
    ids = [await post(services, ucid(number)) for number in range(30)]
    async with pumping(settings) as deliverer:

        async def all_wait() -> bool:
            deliverer.pump.wake()
            [row] = await ask(services, "SELECT count(*) AS n FROM attempts WHERE outcome IS NULL")
            return row.n == 0 and (await services.accounts.get(CUSTOMER)).doubt == "token"

        await until(all_wait)
        # What comes now is not even tried, though the pump looks: what came after it to another account is delivered.
        ids.append(await post(services, ucid(50)))
        await open_account(services, sandbox, "other")
        await post(services, account="other")
        deliverer.pump.wake()
        await until(lambda: ask(services, "SELECT FROM dispositions WHERE state = 'delivered'"))
        waiting = [await show(services, one) for one in ids]
        assert {one["state"] for one in waiting} == {"queued"}
        assert {outcome for one in waiting for outcome in outcomes(one)} == {"no_token"}
        assert waiting[-1]["attempts"] == []
        spent = await ask(services, "SELECT DISTINCT tries FROM dispositions WHERE state <> 'delivered'")
        assert [row.tries for row in spent] == [0]
        assert {request.customer for request in sandbox.log} == {"other"}
        # An hour later.
        await ask(services, "UPDATE tokens SET asked = '{}'")
        for table, columns in (("dispositions", ["next_attempt_at"]), ("calls", ["next_at"]), ("lanes", ["probe_at"])):
            for column in columns:
                await ask(services, f"UPDATE {table} SET {column} = clock_timestamp() WHERE {column} IS NOT NULL")
        await settle(services, deliverer)
    whole = [await show(services, one) for one in ids]
    assert {one["state"] for one in whole} == {"delivered"}
    assert await tries(services) == {1}
    assert (await services.accounts.get(CUSTOMER)).doubt is None


async def test_a_generate_token_that_hangs_holds_up_no_other_account(
    services: Services, settings: Settings, sandbox: Sandbox, account: None
) -> None:
    await open_account(services, sandbox, "other")
    sandbox.scripts.token("hang*")
    slow = [await post(services, ucid(number)) for number in range(100)]
    async with pumping(settings) as deliverer:
        await sandbox.arrivals(1)
        began = time.monotonic()
        quick = await post(services, ucid(200), account="other")
        deliverer.pump.wake()

        async def delivered() -> bool:
            return (await show(services, quick))["state"] == "delivered"

        await until(delivered)
        assert time.monotonic() - began < 2  # and not the deadline of 10 s
        assert (await show(services, slow[0]))["state"] in ("sending", "queued")
        sandbox.hang_up()


async def test_getting_the_token_is_within_the_deadline_of_the_call(
    services: Services, settings: Settings, sandbox: Sandbox, account: None
) -> None:
    sandbox.scripts.token("ok+latency:1500ms")
    sandbox.script(UCID, "hang*")
    limited = settings.model_copy(update={"call_deadline_seconds": 2.0, "max_attempts": 1})
    [shown] = await deliver(services, limited, [await post(services)])
    [attempt] = shown["attempts"]
    assert (attempt["outcome"], attempt["certainty"]) == ("no_reply", "sent_unknown")
    assert 1.9 < (attempt["finished_at"] - attempt["started_at"]).total_seconds() < 3.4  # and not 1.5 + 2.0


@pytest.mark.parametrize(
    ("step", "deadline", "outcome"), [("503*", 5.0, "upstream_error"), ("hang*", 0.2, "unreachable")]
)
async def test_a_token_that_does_not_come_is_a_try_that_was_not_sent(
    services: Services, settings: Settings, sandbox: Sandbox, account: None, step: str, deadline: float, outcome: str
) -> None:
    """As a host that does not answer: it must come to an end."""
    sandbox.scripts.token(step)
    limited = settings.model_copy(update={"call_deadline_seconds": deadline, "max_attempts": 2})
    [shown] = await deliver(services, limited, [await post(services)])
    assert (shown["cause"], outcomes(shown)) == ("attempts_exhausted", [outcome] * 2)
    assert {attempt["certainty"] for attempt in shown["attempts"]} == {"not_sent"}


async def test_a_released_accounts_probe_with_an_old_token_opens_nothing(
    services: Services, settings: Settings, sandbox: Sandbox, account: None
) -> None:
    """It says nothing yet: the repeat, with a new one, does."""
    await deliver(services, settings, [await post(services)])
    await services.accounts.hold(CUSTOMER, actor="test")
    sandbox.account(CUSTOMER, api_key="another")  # so CloudAgent ended the token, too
    somebody_else_makes_one(sandbox)
    ids = [await post(services, ucid(number)) for number in range(1, 20)]
    await services.accounts.release(CUSTOMER, actor="test")
    whole = await deliver(services, settings, ids)
    assert {one["state"] for one in whole} == {"held"}
    arrived = [request for request in sandbox.log if request.path == DISPOSITION]
    assert len(arrived) == 2  # the first one, and one probe


ALL = "SELECT id FROM dispositions"


async def test_the_log_of_cloudagent_never_has_two_of_a_call_at_once(
    services: Services, settings: Settings, sandbox: Sandbox, account: None
) -> None:
    """A newer disposition that comes while a repeat waits for its token takes its place."""
    await deliver(services, settings, [await post(services, ucid(90))])
    somebody_else_makes_one(sandbox)
    sandbox.scripts.token("ok+latency:300ms")
    older: UUID = await post(services, disposition="older")
    async with pumping(settings) as deliverer:
        await sandbox.arrivals(4)  # the first token and call, the refused one, and the new token's request
        newer = await post(services, disposition="newer")
        await settle(services, deliverer)
    seen = [request.parameters["disposition"] for request in sandbox.seen(UCID)]
    first, second = await show(services, older), await show(services, newer)
    # The repeat was claimed already when the newer one came: it goes first, and V2 takes no second one.
    assert seen == ["older", "older", "newer"]
    assert (first["state"], second["cause"]) == ("delivered", "already_disposed")
