"""An account in trouble or on an operator's hold waits: nothing is dropped, no attempt spent, no other harmed."""

from __future__ import annotations

import pytest
from deliveries import (
    API_KEY,
    CUSTOMER,
    UCID,
    ask,
    deliver,
    fields,
    ms,
    open_account,
    post,
    pumping,
    settle,
    show,
    ucid,
    until,
)

from app.domain.lifecycle import State
from app.sandbox import Sandbox
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.keys import OPERATOR
from app.settings import Settings
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")

SOMEBODY_WAITS_FOR_A_LOCK = """
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"retry_delays": [ms(10)]})


async def account_events(services: Services) -> list[str]:
    """What happened to the accounts since they were made, by whom."""
    rows = await ask(
        services,
        "SELECT split_part(actor, ':', 1) || ' ' || action || ' ' || subject AS line FROM events "
        "WHERE subject LIKE 'account:%' AND action <> 'account created' ORDER BY id",
    )
    return [row.line for row in rows]


async def tries(services: Services) -> set[int]:
    return {row.tries for row in await ask(services, "SELECT tries FROM dispositions")}


async def test_rejected_credentials_hold_the_account_after_a_probe_and_a_new_key_lets_it_go_on(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.account(CUSTOMER, api_key="NEW-KEY")
    ids = [await post(services, ucid(number)) for number in range(5)]
    shown = await deliver(services, settings, ids)
    assert {one["state"] for one in shown} == {"held"}
    assert await tries(services) == {0}
    assert await account_events(services) == ["worker account held account:sandbox"]
    assert len(sandbox.log) == 6  # five at once, and when they had ended one more, to be sure
    held = await services.accounts.get(CUSTOMER)
    assert (held.hold_cause, held.hold_reason) == ("authentication_failed", "HTTP 200: Fail Authentication fails")

    released = await services.accounts.set(CUSTOMER, AccountSettings(api_key=Secret("NEW-KEY")), actor="cli")
    assert (released.on_hold, released.doubt) == (False, "credentials")
    shown = await deliver(services, settings, ids)
    assert {one["state"] for one in shown} == {"delivered"}
    assert await tries(services) == {1}
    assert (await services.accounts.get(CUSTOMER)).doubt is None
    assert await account_events(services) == [
        "worker account held account:sandbox",
        "cli account changed account:sandbox",
        "cli account released account:sandbox",
    ]


@pytest.mark.parametrize("key", ["the same", "wrong, too"])
async def test_a_key_that_is_not_new_lifts_no_hold_and_a_wrong_one_costs_one_probe(
    services: Services, settings: Settings, sandbox: Sandbox, key: str
) -> None:
    sandbox.account(CUSTOMER, api_key="changed")
    ids = [await post(services, ucid(number)) for number in range(5)]
    await deliver(services, settings, ids)
    before = len(sandbox.log)
    api_key = Secret(API_KEY if key == "the same" else key.replace(", ", "-").replace(" ", "-"))
    await services.accounts.set(CUSTOMER, AccountSettings(api_key=api_key), actor="cli")
    shown = await deliver(services, settings, ids)
    assert {one["state"] for one in shown} == {"held"}
    assert len(sandbox.log) - before == (0 if key == "the same" else 1)
    assert await tries(services) == {0}


async def test_an_operators_hold_outlives_a_new_key(services: Services) -> None:
    await services.accounts.hold(CUSTOMER, actor="cli", reason="maintenance")
    account = await services.accounts.set(CUSTOMER, AccountSettings(api_key=Secret("NEW-KEY")), actor="cli")
    assert (account.hold_cause, account.hold_reason) == ("operator", "maintenance")


async def test_a_wrong_address_is_mended_by_a_new_one(services: Services, settings: Settings, sandbox: Sandbox) -> None:
    await services.accounts.set(CUSTOMER, AccountSettings(path="/not/here"), actor="cli")
    one = await post(services)
    [shown] = await deliver(services, settings, [one])
    assert shown["state"] == "held"
    assert (await services.accounts.get(CUSTOMER)).hold_cause == "misconfigured"
    path = "/CAServices/Disposition/DispositionAPIV3.php"
    await services.accounts.set(CUSTOMER, AccountSettings(path=path), actor="cli")
    [shown] = await deliver(services, settings, [one])
    assert (shown["state"], await tries(services)) == ("delivered", {1})


async def test_after_the_first_refusal_one_probe_is_sent_for_that_account_and_the_others_go_on(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox, max_in_flight=1)
    await open_account(services, sandbox, "other")
    sandbox.account(CUSTOMER, api_key="changed")
    mine = [await post(services, ucid(number)) for number in range(10)]
    others = [await post(services, ucid(number), account="other") for number in range(10)]
    shown = await deliver(services, settings, mine + others)
    assert [one["state"] for one in shown] == ["held"] * 10 + ["delivered"] * 10
    assert sum(one["attempt_count"] for one in shown[:10]) == 2
    assert [request.customer for request in sandbox.log].count(CUSTOMER) == 2


async def test_a_refusal_that_the_probe_does_not_confirm_holds_nothing_and_costs_no_try(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(ucid(3), "auth_fail,ok")
    ids = [await post(services, ucid(number)) for number in range(10)]
    shown = await deliver(services, settings, ids)
    assert {one["state"] for one in shown} == {"delivered"}
    assert sorted(one["attempt_count"] for one in shown) == [1] * 9 + [2]
    assert await tries(services) == {1}
    assert await account_events(services) == []


async def test_after_a_release_one_call_is_the_probe_and_the_rest_follows_it(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await services.accounts.hold(CUSTOMER, actor="cli")
    ids = [await post(services, ucid(number)) for number in range(20)]
    sandbox.next("ok+latency:150ms")
    sandbox.misbehave(latency="20ms")
    await services.accounts.release(CUSTOMER, actor="cli")
    async with pumping(settings) as first, pumping(settings, kind="scheduler") as second:
        await settle(services, first, second)
    assert {(await show(services, one))["state"] for one in ids} == {"delivered"}
    attempts = await ask(services, "SELECT started_at, finished_at FROM attempts ORDER BY started_at")
    assert all(other.started_at >= attempts[0].finished_at for other in attempts[1:])
    assert max(request.in_flight for request in sandbox.log) > 10


async def test_what_arrives_during_a_hold_is_held_and_counted_so(services: Services, settings: Settings) -> None:
    await services.accounts.hold(CUSTOMER, actor="cli", reason="maintenance")
    receipt = await services.intake.accept(fields(), OPERATOR)
    assert receipt.state is State.HELD
    again = await services.intake.accept(fields(), OPERATOR)
    assert (again.state, again.duplicate) == (State.HELD, True)
    assert (await show(services, receipt.id))["state"] == "held"
    stats = await services.reports.stats(OPERATOR)
    assert (stats["states"]["held"], stats["states"]["queued"]) == (1, 0)


async def test_an_operators_hold_stops_deliveries_and_a_release_sets_them_going(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox, "other")
    await services.accounts.hold(CUSTOMER, actor="cli", reason="maintenance")
    await services.accounts.hold(CUSTOMER, actor="cli", reason="again")
    one = await post(services)
    async with pumping(settings) as deliverer:
        await post(services, account="other")
        await settle(services, deliverer)
        assert [request.customer for request in sandbox.log] == ["other"]
        await services.accounts.release(CUSTOMER, actor="cli")
        await services.accounts.release(CUSTOMER, actor="cli")
        await settle(services, deliverer)
    assert (await show(services, one))["state"] == "delivered"
    assert await account_events(services) == [
        "cli account held account:sandbox",
        "cli account released account:sandbox",
    ]


async def test_a_hold_lets_the_call_on_the_wire_end_and_holds_its_repeat(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(ucid(1), "ok+latency:150ms")
    sandbox.script(ucid(2), "503+latency:150ms")
    ids = [await post(services, ucid(1)), await post(services, ucid(2))]
    async with pumping(settings) as deliverer:
        await sandbox.arrivals(2)
        await services.accounts.hold(CUSTOMER, actor="cli")
        await settle(services, deliverer)
    shown = [await show(services, one) for one in ids]
    assert [(one["state"], one["attempt_count"]) for one in shown] == [("delivered", 1), ("held", 1)]


async def test_a_hold_takes_effect_on_a_claim_that_is_waiting_for_its_turn(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox, "other")
    await post(services)
    await post(services, account="other")
    async with services.engine.begin() as connection:
        await connection.exec_driver_sql("SELECT FROM lanes FOR UPDATE")  # another worker is claiming
        async with pumping(settings) as deliverer:
            await until(lambda: ask(services, SOMEBODY_WAITS_FOR_A_LOCK))
            await services.accounts.hold(CUSTOMER, actor="cli")
            await connection.commit()
            await settle(services, deliverer)
    assert [request.customer for request in sandbox.log] == ["other"]


async def test_a_refusal_that_was_on_its_way_when_the_key_changed_does_not_hold_the_account(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(UCID, "auth_fail+latency:200ms")
    one = await post(services)
    async with pumping(settings) as deliverer:
        await sandbox.arrivals(1)
        await services.accounts.set(CUSTOMER, AccountSettings(api_key=Secret(API_KEY)), actor="cli")
        await settle(services, deliverer)
    shown = await show(services, one)
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["authentication_failed", "saved"]
    assert await tries(services) == {1}
    assert not (await services.accounts.get(CUSTOMER)).on_hold


async def test_a_refusal_that_was_on_its_way_when_the_account_was_released_does_not_hold_it_again(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(UCID, "auth_fail+latency:300ms")
    one = await post(services)
    async with pumping(settings) as deliverer:
        await sandbox.arrivals(1)
        await services.accounts.hold(CUSTOMER, actor="cli")
        await services.accounts.release(CUSTOMER, actor="cli")
        await settle(services, deliverer)
    assert [attempt["outcome"] for attempt in (await show(services, one))["attempts"]] == [
        "authentication_failed",
        "saved",
    ]
    assert await account_events(services) == [
        "cli account held account:sandbox",
        "cli account released account:sandbox",
    ]


async def test_a_newer_one_supersedes_what_is_held(services: Services, settings: Settings, sandbox: Sandbox) -> None:
    await services.accounts.hold(CUSTOMER, actor="cli")
    older = await post(services, disposition="Call back")
    newer = await post(services, disposition="Sale")
    assert [(await show(services, one))["state"] for one in (older, newer)] == ["superseded", "held"]
    await services.accounts.release(CUSTOMER, actor="cli")
    await deliver(services, settings, [])
    assert [request.parameters["disposition"] for request in sandbox.log] == ["Sale"]


async def test_many_accounts_refused_at_once_by_two_workers_do_not_block_each_other(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    customers = [f"customer{number}" for number in range(8)]
    for customer in customers:
        await open_account(services, sandbox, customer)
        sandbox.account(customer, api_key="changed")
    sandbox.misbehave(latency="1ms-20ms")
    for number in range(10):
        for customer in customers:
            await post(services, ucid(number), account=customer)
    async with pumping(settings) as first, pumping(settings, kind="scheduler") as second:
        await settle(services, first, second)
    held = [line.split()[-1] for line in await account_events(services)]
    assert sorted(held) == [f"account:{customer}" for customer in customers]  # one event each
    assert await tries(services) == {0}
    [row] = await ask(services, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert row.deadlocks == 0
