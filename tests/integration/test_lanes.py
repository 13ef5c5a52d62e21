"""What an account's lane learns, and what all workers make of it: the breaker, its probes, the learned pace."""

from __future__ import annotations

import itertools
import time

import pytest
from deliveries import CUSTOMER, ask, ms, open_account, post, pumping, settle, show, ucid, until

from app.domain.filters import Filter
from app.domain.lifecycle import State
from app.sandbox import Sandbox
from app.services.keys import OPERATOR
from app.settings import Settings
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")

MANY_WAIT = """
    WITH account AS (SELECT id FROM accounts), call AS (
        INSERT INTO calls (account_id, ucid, last_seq, next_at)
        SELECT account.id, (1000000000000000 + n)::text, 1, clock_timestamp()
        FROM account, generate_series(1, CAST(:many AS int)) n RETURNING id, account_id, ucid)
    INSERT INTO dispositions
        (id, call_id, seq, account_id, ucid, did, agent_id, disposition, state, max_age_seconds, expires_at)
    SELECT uuidv7(), id, 1, account_id, ucid, '1', 'a17', 'Sale', 'queued', 3600, now() + interval '1 hour' FROM call
"""
PROBES_ARE_NOTED = """
    CREATE TABLE probes (probe_at timestamptz);
    CREATE FUNCTION note_probe() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO probes VALUES (NEW.probe_at); RETURN NULL; END $$;
    CREATE TRIGGER note_probe AFTER UPDATE ON lanes FOR EACH ROW
        WHEN (OLD.probe_at IS DISTINCT FROM NEW.probe_at AND NEW.probe_at IS NOT NULL) EXECUTE FUNCTION note_probe();
"""
ATTEMPTS = "SELECT started_at, finished_at, outcome, worker FROM attempts ORDER BY started_at"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"retry_delays": [ms(10)], "breaker_pauses": [ms(200), ms(300)]})


@pytest.mark.parametrize("fault", ["503", "reset_after", "reset_before"])
async def test_a_breaker_opens_probes_one_call_at_a_time_and_closes_for_all_workers(
    services: Services, settings: Settings, sandbox: Sandbox, fault: str
) -> None:
    await open_account(services, sandbox, max_in_flight=10)
    sandbox.misbehave(mix=f"{fault}=100", latency="5ms")
    ids = [await post(services, ucid(number)) for number in range(30)]
    for statement in PROBES_ARE_NOTED.split(";\n"):
        await ask(services, statement)
    async with pumping(settings) as first, pumping(settings, kind="scheduler") as second:
        await until(lambda: ask(services, "SELECT FROM lanes WHERE failed_probes >= 2"))
        account = await services.accounts.get(CUSTOMER)
        assert (account.doubt, account.on_hold) == ("breaker", False)
        assert account.probe_at is not None
        assert b'wrapup_accounts_in_doubt{doubt="breaker"} 1.0' in await services.health.metrics()
        # What waits for a probe waits for no worker.
        assert (await services.reports.stats(OPERATOR))["oldest_due_seconds"] == 0
        sandbox.misbehave(mix="", latency="5ms")
        await settle(services, first, second)
    assert {(await show(services, one))["state"] for one in ids} == {"delivered"}
    assert (await services.accounts.get(CUSTOMER)).doubt is None

    attempts = await ask(services, ATTEMPTS)
    ends = [one.finished_at for one in attempts]
    probe_at = [one.probe_at for one in await ask(services, "SELECT probe_at FROM probes ORDER BY probe_at")]
    saved = next(number for number, one in enumerate(attempts) if one.outcome == "saved")
    opened = saved + 1 - len(probe_at)
    assert 10 <= opened < 30, "it opened after ten, and what was under way ended"
    assert len(probe_at) >= 3, "two probes failed at least"
    assert probe_at[0] - ms(200) in ends[:opened], "a pause after the end that was one too many"
    assert probe_at[1:] == [end + ms(300) for end in ends[opened:saved]], "and after each probe that failed"
    assert all(one.started_at >= at for one, at in zip(attempts[opened:], probe_at, strict=False)), "one at a time"
    assert attempts[saved + 1].started_at >= ends[saved], "nothing beside the probe, until it was answered"
    # Waiting cost no try: each one is an attempt that was made.
    [row] = await ask(services, "SELECT sum(tries) AS tries FROM dispositions")
    assert row.tries == len(attempts) == len(sandbox.log)


async def test_a_pump_that_is_alone_comes_back_for_the_probe_by_itself(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.next("503," * 11 + "503")
    for number in range(12):
        await post(services, ucid(number))
    async with pumping(settings):  # woken once
        await until(lambda: ask(services, "SELECT FROM dispositions HAVING bool_and(state = 'delivered')"))


async def test_some_failures_among_many_answers_open_nothing(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.misbehave(mix="503=30")
    for number in range(100):
        await post(services, ucid(number))
    async with pumping(settings) as deliverer:
        await settle(services, deliverer)
    assert await ask(services, "SELECT FROM lanes WHERE failed_probes > 0") == []


@pytest.mark.parametrize("fault", ["429", "max_limit"])
async def test_too_much_lowers_the_accounts_pace_which_climbs_back_by_itself(
    services: Services, settings: Settings, sandbox: Sandbox, fault: str
) -> None:
    sandbox.next([fault] * 10)
    for number in range(20):
        await post(services, ucid(number))
    async with pumping(settings):
        await until(lambda: ask(services, "SELECT FROM lanes WHERE learned_rate IS NOT NULL"))
    slow = (await services.accounts.get(CUSTOMER)).learned_rate
    assert slow == pytest.approx(1, rel=0.1)  # 20 in the last 10 seconds were too much
    await ask(services, "UPDATE lanes SET learned_at = learned_at - interval '2 minutes'")
    assert (await services.accounts.get(CUSTOMER)).learned_rate == pytest.approx(4 * slow, rel=0.1)
    await ask(services, "UPDATE lanes SET learned_at = learned_at - interval '1 day'")
    assert (await services.accounts.get(CUSTOMER)).learned_rate is None


async def test_what_was_learned_bounds_all_workers_and_a_new_rate_forgets_it(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await ask(services, "UPDATE lanes SET learned_rate = 0.5, learned_at = clock_timestamp()")
    for number in range(10):
        await post(services, ucid(number))
    async with pumping(settings) as first, pumping(settings, kind="scheduler") as second:
        await sandbox.arrivals(1)
        first.pump.wake()
        second.pump.wake()
        await until(lambda: ask(services, "SELECT FROM attempts WHERE outcome = 'saved'"))
        assert len(sandbox.log) == 1
        await open_account(services, sandbox, rate_per_second=0)
        await settle(services, first, second)
    assert len(sandbox.log) == 10


async def test_a_pace_is_kept_by_the_pump_itself_in_small_steps(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox, rate_per_second=20)
    for number in range(40):
        await post(services, ucid(number))
    async with pumping(settings):  # woken once, and by no scheduler
        await sandbox.arrivals(40)
    starts = [attempt.started_at for attempt in await ask(services, ATTEMPTS)]
    assert starts[-1] - starts[0] >= ms(800), "a second's worth at once, and the rest within a second at the least"
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert max(gaps) < ms(700), "not a second's worth each second"


async def test_a_hold_of_a_hundred_thousand_takes_effect_and_reads_right_at_once(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await ask(services, MANY_WAIT, many=100_000)
    assert await reads_as(services) == {"queued": 100_000}
    began = time.monotonic()
    await services.accounts.hold(CUSTOMER, actor="cli")
    held = time.monotonic() - began
    assert await reads_as(services) == {"held": 100_000}
    async with pumping(settings) as deliverer:
        await settle(services, deliverer)
    assert sandbox.log == []
    began = time.monotonic()
    await services.accounts.release(CUSTOMER, actor="cli")
    released = time.monotonic() - began
    assert await reads_as(services) == {"queued": 100_000}
    print(f"hold {held * 1000:.1f} ms, release {released * 1000:.1f} ms")
    assert max(held, released) < 0.5


async def reads_as(services: Services) -> dict[str, int]:
    """What all who show it say about where the dispositions are; they have to say the same."""
    stats = await services.reports.stats(OPERATOR)
    counts = {state: n for state, n in stats["states"].items() if n}
    assert stats["accounts"] == {CUSTOMER: counts}
    metrics = (await services.health.metrics()).decode()
    for state in State:
        listed = await services.reports.page(Filter(states=[state]), after=None, limit=100)
        assert {one["state"] for one in listed.items} == ({state} if state in counts else set())
        assert f'wrapup_dispositions{{state="{state}"}} {float(counts.get(state, 0))}' in metrics
    on_hold = (await services.accounts.get(CUSTOMER)).on_hold
    assert ("held" in counts) == on_hold == ('wrapup_accounts_on_hold{cause="operator"} 1.0' in metrics)
    return counts
