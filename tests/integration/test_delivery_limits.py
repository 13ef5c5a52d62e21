"""What bounds delivery: age, an account's cap and pace, the room of a worker; and who gets the room that there is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
import redis
from deliveries import CUSTOMER, UCID, ask, ms, open_account, post, pumping, settle, show, somebody_waits, ucid, until
from sqlalchemy import text

from app.broker import QUEUE
from app.domain.errors import InvalidInput
from app.sandbox import Sandbox
from app.services.accounts import LOWEST_RATE
from app.settings import Settings
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")

RECORDS_WAIT = """
    CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); NEW.finished_at := clock_timestamp(); RETURN NEW; END $$;
    CREATE TRIGGER wait_for_test BEFORE UPDATE ON attempts FOR EACH ROW EXECUTE FUNCTION wait_for_test()
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"retry_delays": [ms(10)]})


# Age.


@pytest.mark.parametrize("on_hold", [False, True])
async def test_what_is_too_old_is_never_sent_and_fails_as_expired_on_hold_or_not(
    services: Services, settings: Settings, sandbox: Sandbox, on_hold: bool
) -> None:
    if on_hold:
        await services.accounts.hold(CUSTOMER, actor="test")
    old = await post(services, ucid(1), max_age_seconds=3600)
    young = await post(services, ucid(2), max_age_seconds=3600)
    await ask(services, "UPDATE dispositions SET expires_at = clock_timestamp() WHERE id = :id", id=old)
    async with pumping(settings) as deliverer:
        if not on_hold:
            await sandbox.arrivals(1)
        await deliverer.upkeep.tick()
        await settle(services, deliverer)
    shown = await show(services, old)
    assert (shown["state"], shown["cause"], shown["attempt_count"]) == ("failed", "expired", 0)
    assert (shown["events"][-1]["from"], shown["events"][-1]["to"]) == ("queued", "failed")
    assert (await show(services, young))["state"] == ("held" if on_hold else "delivered")
    assert [request.ucid for request in sandbox.log] == ([] if on_hold else [ucid(2)])


async def test_what_expires_on_hold_is_not_due_any_more(services: Services, settings: Settings) -> None:
    await services.accounts.hold(CUSTOMER, actor="test")
    await post(services)
    await ask(services, "UPDATE dispositions SET expires_at = clock_timestamp()")
    async with pumping(settings) as deliverer:
        await deliverer.upkeep.tick()
    assert await ask(services, "SELECT FROM calls WHERE next_at IS NOT NULL OR lease_until IS NOT NULL") == []


async def test_what_waits_beyond_its_age_between_two_attempts_expires(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(UCID, "503:3600")
    one = await post(services)
    async with pumping(settings) as deliverer:
        await until(lambda: ask(services, "SELECT FROM dispositions WHERE state = 'retrying'"))
        await ask(services, "UPDATE dispositions SET expires_at = clock_timestamp()")
        await deliverer.upkeep.tick()
    shown = await show(services, one)
    assert (shown["state"], shown["cause"], shown["outcome"]) == ("failed", "expired", "upstream_error")
    assert shown["next_attempt_at"] is None


# Limits: cap, pace, room.


async def test_an_accounts_cap_on_calls_in_flight_is_shared_by_all_workers(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox, max_in_flight=3)
    sandbox.misbehave(latency="5ms-15ms")
    ids = [await post(services, ucid(number)) for number in range(40)]
    async with pumping(settings) as first, pumping(settings, kind="scheduler") as second:
        await settle(services, first, second)
    assert max(request.in_flight for request in sandbox.log) == 3
    assert {(await show(services, one))["state"] for one in ids} == {"delivered"}
    assert len(await ask(services, "SELECT DISTINCT worker FROM attempts")) == 2


async def test_one_wake_up_is_enough_for_all_that_is_due_whatever_the_cap(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox, max_in_flight=2)
    for number in range(30):
        await post(services, ucid(number))
    async with pumping(settings.model_copy(update={"calls_in_flight": 10})):
        await sandbox.arrivals(30)
    assert max(request.in_flight for request in sandbox.log) <= 2


async def test_a_call_that_hangs_keeps_its_own_slot_and_no_other(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(ucid(0), "hang")
    ids = [await post(services, ucid(number)) for number in range(60)]
    async with pumping(settings.model_copy(update={"calls_in_flight": 4})):  # woken once
        await sandbox.arrivals(60)
        await until(lambda: ask(services, "SELECT FROM dispositions WHERE state = 'delivered' HAVING count(*) = 59"))
        assert (await show(services, ids[0]))["state"] == "sending"
        sandbox.hang_up()


async def test_an_accounts_pace_is_shared_by_all_workers(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    rate = 60
    await open_account(services, sandbox, rate_per_second=rate)
    for number in range(100):
        await post(services, ucid(number))
    async with pumping(settings) as first, pumping(settings, kind="scheduler") as second:
        await settle(services, first, second)
    rows = await ask(services, "SELECT started_at FROM attempts ORDER BY started_at")
    assert_within_pace([row.started_at for row in rows], rate)


def assert_within_pace(starts: Sequence[datetime], rate: float) -> None:
    """In any span of time there are no more starts than the pace allows in it, and one second's worth ahead."""
    slack = timedelta(milliseconds=50)  # from the claim to the attempt's own time
    assert len(starts) == 100
    for first, start in enumerate(starts):
        for last in range(first + 1, len(starts)):
            allowed = rate + rate * (starts[last] - start + slack).total_seconds()
            assert last - first + 1 <= allowed


async def test_a_new_pace_does_not_wait_for_the_old_one(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox, rate_per_second=0.001)  # one call in a quarter of an hour
    for number in range(3):
        await post(services, ucid(number))
    async with pumping(settings) as deliverer:
        await sandbox.arrivals(1)
        await open_account(services, sandbox, rate_per_second=100)
        await settle(services, deliverer)
    assert len(sandbox.log) == 3


async def test_no_pace_is_so_slow_that_it_stops_all_others(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    """Below a certain pace the time of the next call is no date any more, and claiming would fail for everybody."""
    await open_account(services, sandbox, "slow", rate_per_second=LOWEST_RATE)
    with pytest.raises(InvalidInput, match="rate_per_second is 1e-300; it must be 0"):
        await open_account(services, sandbox, "slow", rate_per_second=1e-300)
    for number in range(3):
        await post(services, ucid(number), account="slow")
    other = await post(services, ucid(9))
    async with pumping(settings):
        await until(lambda: ask(services, "SELECT FROM dispositions WHERE id = :id AND state = 'delivered'", id=other))


async def test_a_clock_that_is_set_back_stops_no_account(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    """What a lane remembers lies ahead then. A power of that time would be no number, and claiming fail for all."""
    await open_account(services, sandbox, "slowed")
    await ask(
        services,
        "UPDATE lanes SET recent = 5, served_at = now() + interval '1 day',"
        " learned_rate = 100, learned_at = now() + interval '1 day'"
        " WHERE account_id = (SELECT id FROM accounts WHERE customer = 'slowed')",
    )
    await post(services, ucid(1), account="slowed")
    await post(services, ucid(2))
    async with pumping(settings) as deliverer:
        await settle(services, deliverer)
    assert sorted(request.ucid for request in sandbox.log) == [ucid(1), ucid(2)]
    assert (await ask(services, "SELECT max(recent) AS most FROM lanes"))[0].most <= 6


async def test_a_small_account_does_not_wait_behind_a_large_one(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox, "small")
    sandbox.misbehave(latency="3ms")
    for number in range(120):
        await post(services, ucid(number))
    for number in range(10):
        await post(services, ucid(number), account="small")
    async with pumping(settings.model_copy(update={"calls_in_flight": 6})) as deliverer:
        await settle(services, deliverer)
    last = max(number for number, request in enumerate(sandbox.log) if request.customer == "small")
    assert last < 50, "the small account's ten were among the first"


async def test_an_account_at_its_cap_leaves_the_room_to_the_others(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    for customer in ("stuck1", "stuck2", "stuck3"):
        await open_account(services, sandbox, customer, max_in_flight=1)
        sandbox.misbehave(customer, mix="hang=100")
        for number in range(5):
            await post(services, ucid(number), account=customer)
    async with pumping(settings.model_copy(update={"calls_in_flight": 4})):
        await sandbox.arrivals(3)
        ids = [await post(services, ucid(number)) for number in range(20)]
        async with pumping(settings.model_copy(update={"calls_in_flight": 1}), kind="scheduler"):
            await sandbox.arrivals(23)
        sandbox.hang_up()
    assert {(await show(services, one))["state"] for one in ids} == {"delivered"}
    assert [request.customer for request in sandbox.log].count(CUSTOMER) == 20


async def test_a_pump_with_its_hands_full_does_not_ring_again_and_again(
    services: Services, settings: Settings, sandbox: Sandbox, broker_url: str
) -> None:
    sandbox.misbehave(mix="hang=100")
    for number in range(3):
        await post(services, ucid(number))
    wake_ups = 0
    with redis.Redis.from_url(broker_url.replace("redis+socket", "unix").split("?")[0]) as broker:
        async with pumping(settings.model_copy(update={"calls_in_flight": 1})) as deliverer:
            await sandbox.arrivals(1)
            for _ in range(20):
                broker.delete(QUEUE)
                deliverer.pump.wake()
                await asyncio.sleep(0.01)
                wake_ups += broker.llen(QUEUE)
            deliverer.pump.stop()
            sandbox.hang_up()
    assert wake_ups <= 2  # those that were under way when it filled up


async def test_what_waits_to_be_recorded_keeps_no_slot_but_is_bounded(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox, "stuck")
    sandbox.misbehave("stuck", mix="hang=100")
    for number in range(2):
        await post(services, ucid(number), account="stuck")
    for number in range(20):
        await post(services, ucid(number))
    for statement in RECORDS_WAIT.split(";\n"):
        await ask(services, statement)
    async with services.engine.connect() as slow:
        await slow.execute(text("SELECT pg_advisory_lock(1)"))
        async with pumping(settings.model_copy(update={"calls_in_flight": 3})) as deliverer:
            await sandbox.arrivals(2 + 3)
            assert await ask(services, "SELECT FROM attempts WHERE finished_at IS NOT NULL") == []
            await slow.execute(text("SELECT pg_advisory_unlock(1)"))
            sandbox.misbehave("stuck", mix="")
            sandbox.hang_up()
            await settle(services, deliverer)
    attempts = await ask(services, "SELECT started_at, finished_at FROM attempts")
    open_at_once = [sum(b.started_at <= a.started_at < b.finished_at for b in attempts) for a in attempts]
    assert max(open_at_once) == 2 + 3, "as many may wait to be recorded as may be in flight"


async def test_what_got_no_answer_keeps_its_slot_until_that_is_on_record(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    """It may put the account in doubt: until then others would follow it, for another deadline."""
    await open_account(services, sandbox, "stuck")
    sandbox.misbehave("stuck", mix="hang=100")
    for number in range(30):
        await post(services, ucid(number), account="stuck")
    for statement in RECORDS_WAIT.split(";\n"):
        await ask(services, statement)
    async with services.engine.connect() as slow:
        await slow.execute(text("SELECT pg_advisory_lock(1)"))
        limits = {"calls_in_flight": 10, "call_deadline_seconds": 0.3}
        async with pumping(settings.model_copy(update=limits)) as deliverer:
            await sandbox.arrivals(8)  # all but what is kept for others
            await somebody_waits(services)
            await post(services)
            deliverer.pump.wake()
            await sandbox.arrivals(8 + 1)  # there was a claim, and it brought none of the other account
            sent = "SELECT FROM attempts JOIN accounts ON accounts.id = account_id WHERE customer = 'stuck'"
            stuck = await ask(services, sent)
            await slow.execute(text("SELECT pg_advisory_unlock(1)"))
            await services.accounts.hold("stuck", actor="test")
            await settle(services, deliverer)
    assert len(stuck) == 8
