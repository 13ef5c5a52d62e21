"""Delivery against the stand-in: claim, call, classify, record; newest wins; workers that are lost or too late."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from deliveries import (
    CUSTOMER,
    UCID,
    ask,
    deliver,
    ms,
    post,
    pumping,
    settle,
    show,
    ucid,
    until,
)
from pydantic import SecretStr

from app.sandbox import Sandbox
from app.services.accounts import AccountSettings
from app.services.keys import OPERATOR
from app.settings import Settings
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")

# As the database's clock would do it, in a lease's time.
LEASES_RUN_OUT = "UPDATE calls SET lease_until = clock_timestamp() - interval '1 ms' WHERE lease_until IS NOT NULL"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"retry_delays": [ms(10)]})


def dispositions_seen(sandbox: Sandbox) -> list[str]:
    """The codes that arrived at CloudAgent, in order."""
    return [request.parameters["disposition"] for request in sandbox.log]


# One delivery.


async def test_the_attempt_is_committed_before_the_call(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    one = await post(services)
    sandbox.script(UCID, "ok+latency:300ms")
    async with pumping(settings):
        [request] = await sandbox.arrivals(1)
        shown = await show(services, one)  # another connection, while CloudAgent still thinks
        assert sandbox.in_flight == 1
        [attempt] = shown["attempts"]
        assert (shown["state"], shown["attempt_count"]) == ("sending", 1)
        assert (str(attempt["id"]), attempt["number"]) == (request.request_id, 1)
        assert (attempt["finished_at"], attempt["outcome"], attempt["certainty"]) == (None, None, None)
    shown = await show(services, one)
    assert (shown["state"], shown["attempts"][0]["outcome"]) == ("delivered", "saved")


async def test_a_delivery_is_told_from_its_acceptance_to_its_end(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(UCID, "503,reset_after")
    [shown] = await deliver(services, settings, [await post(services)])
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["upstream_error", "no_reply", "saved"]
    assert [(event["action"], event["from"], event["to"]) for event in shown["events"]] == [
        ("accepted", None, "queued"),
        ("delivered", "sending", "delivered"),
    ]
    times = [time for attempt in shown["attempts"] for time in (attempt["started_at"], attempt["finished_at"])]
    assert times == sorted(times)
    assert shown["created_at"] <= times[0]
    assert times[-1] <= shown["finished_at"]


async def test_everything_that_was_asked_arrives_as_it_was_asked(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    asked = {
        "disposition": "Sale & more = 100%",
        "comments": "ग्राहक: call back\n#2?",
        "callback_time": "2026-12-24T10:30:00+01:00",
        "callback_time_zone": "Europe/London",
        "pause_after_dispose": True,
    }
    await deliver(services, settings, [await post(services, **asked)])
    held = sandbox.call(UCID).held  # type: ignore[union-attr]
    assert held is not None
    assert (held.agent_id, held.disposition, held.comments) == ("a17", asked["disposition"], asked["comments"])
    assert (held.callback_time, held.callback_time_zone) == ("2026-12-24 09:30:00", "Europe/London")
    assert held.pause_after_dispose


# Newest wins, per call.


async def test_a_newer_one_waits_for_the_one_on_the_wire_and_goes_next(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(UCID, "ok+latency:150ms")
    older = await post(services, disposition="Call back")
    async with pumping(settings) as deliverer:
        await sandbox.arrivals(1)
        newer = await post(services, disposition="Sale")
        deliverer.pump.wake()  # it finds the call leased
        assert (await show(services, older))["state"] == "sending"
        await until(lambda: sandbox.arrivals(2))  # no other wake-up is needed
    assert dispositions_seen(sandbox) == ["Call back", "Sale"]
    assert [(await show(services, one))["state"] for one in (older, newer)] == ["delivered", "delivered"]


@pytest.mark.parametrize("fault", ["503", "reset_after", "error"])
async def test_an_older_one_that_fails_while_a_newer_one_waits_is_superseded_and_not_repeated(
    services: Services, settings: Settings, sandbox: Sandbox, fault: str
) -> None:
    sandbox.script(UCID, f"{fault}+latency:150ms")
    older = await post(services, disposition="Call back")
    async with pumping(settings) as deliverer:
        await sandbox.arrivals(1)
        newer = await post(services, disposition="Sale")
        await settle(services, deliverer)
    shown = await show(services, older)
    assert (shown["state"], shown["superseded_by"], shown["attempt_count"]) == ("superseded", newer, 1)
    assert shown["events"][-1]["from"] == "retrying"
    assert shown["events"][-1]["reason"] == f"superseded by {newer}"
    assert dispositions_seen(sandbox) == ["Call back", "Sale"]


async def test_what_waits_for_its_next_attempt_is_superseded_by_a_newer_one(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(UCID, "429:3600")
    older = await post(services, disposition="Call back")
    async with pumping(settings) as deliverer:
        await sandbox.arrivals(1)
        await until(lambda: ask(services, "SELECT FROM dispositions WHERE state = 'retrying'"))
        newer = await post(services, disposition="Sale")
        await settle(services, deliverer)
    assert (await show(services, older))["superseded_by"] == newer
    assert dispositions_seen(sandbox) == ["Call back", "Sale"]


async def test_of_many_for_one_call_the_newest_is_what_cloudagent_holds_at_the_end(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.misbehave(mix="503=20,reset_after=20,error=10", latency="0ms-3ms")
    last: dict[int, str] = {}
    ids: list[UUID] = []
    async with pumping(settings) as first, pumping(settings, kind="scheduler") as second:
        for round_ in range(12):
            last = dict.fromkeys(range(10), f"code {round_}")
            ids += await asyncio.gather(*(post(services, ucid(call), disposition=last[call]) for call in last))
            first.pump.wake()
            second.pump.wake()
        await settle(services, first, second)
    for call, code in last.items():
        seen = [request.parameters["disposition"] for request in sandbox.seen(ucid(call))]
        assert seen == sorted(seen, key=lambda one: int(one.split()[1])), "an older one was sent after a newer one"
        assert sandbox.call(ucid(call)).held.disposition == code  # type: ignore[union-attr]
    states = {(await show(services, one))["state"] for one in ids}
    assert states <= {"delivered", "superseded"}
    attempts = await ask(services, "SELECT id::text FROM attempts")
    assert sorted(row.id for row in attempts) == sorted(request.request_id or "" for request in sandbox.log)


# Lost workers, and ends that come too late.


async def test_the_attempt_of_a_lost_worker_becomes_unknown_and_is_repeated(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(UCID, "hang_after")
    one = await post(services)
    async with pumping(settings.model_copy(update={"call_deadline_seconds": 30})) as lost:
        await sandbox.arrivals(1)
        await ask(services, LEASES_RUN_OUT)
        async with pumping(settings, kind="scheduler") as living:
            await living.upkeep.tick()
            first = (await show(services, one))["attempts"][0]
            await settle(services, living)
        lost.pump.stop()
        sandbox.hang_up()  # the lost one's call ends, at last
    shown = await show(services, one)
    assert (first["finished_at"], first["outcome"], first["certainty"]) == (None, "unknown", "sent_unknown")
    assert (shown["state"], shown["outcome"], shown["attempt_count"]) == ("delivered", "saved", 2)
    assert len(sandbox.log) == 2


async def test_an_end_after_the_lease_is_noted_as_late_and_changes_nothing(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(UCID, "invalid_action+latency:300ms,ok")
    one = await post(services)
    async with pumping(settings) as slow:
        await sandbox.arrivals(1)
        await ask(services, LEASES_RUN_OUT)
        await slow.upkeep.tick()
        await settle(services, slow)
        delivered = await show(services, one)
        assert (delivered["state"], delivered["attempt_count"]) == ("delivered", 2)
    shown = await show(services, one)  # by now the first call has ended, too: refused
    [first, second] = shown["attempts"]
    assert shown | {"attempts": []} == delivered | {"attempts": []}
    assert (first["outcome"], first["finished_at"], first["http_status"]) == ("unknown", None, None)
    assert "finished late" in first["notes"][0]
    assert first["notes"][0].endswith("after its lease was out: invalid_action")
    assert (second["outcome"], second["notes"]) == ("saved", [])


async def test_what_is_lost_again_and_again_fails_when_its_attempts_are_used_up(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    settings = settings.model_copy(update={"max_attempts": 2, "call_deadline_seconds": 30})
    sandbox.script(UCID, "hang*")
    one = await post(services)
    async with pumping(settings) as deliverer:
        for number in (1, 2):
            await until(lambda: wake_and_look(deliverer.pump.wake, sandbox, number))  # noqa: B023
            await ask(services, LEASES_RUN_OUT)
            await deliverer.upkeep.tick()
        sandbox.hang_up()
    shown = await show(services, one)
    assert (shown["state"], shown["cause"], shown["outcome"]) == ("failed", "attempts_exhausted", "unknown")
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["unknown", "unknown"]


async def wake_and_look(wake: object, sandbox: Sandbox, arrivals: int) -> bool:
    wake()  # type: ignore[operator]
    return len(sandbox.log) >= arrivals


async def test_a_database_that_goes_away_during_a_call_costs_no_repeat(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.misbehave(latency="200ms")
    ids = [await post(services, ucid(number)) for number in range(5)]
    async with pumping(settings):
        await sandbox.arrivals(5)
        await ask(services, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ 'worker'")
        await until(lambda: ask(services, "SELECT FROM dispositions HAVING bool_and(finished_at IS NOT NULL)"))
    shown = [await show(services, one) for one in ids]
    assert [(one["state"], one["attempt_count"]) for one in shown] == [("delivered", 1)] * 5
    assert len(sandbox.log) == 5


# What is Wrapup's own fault is recorded, too.


async def test_an_api_key_that_can_not_be_decrypted_is_not_sent_and_holds_the_account(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    other_key = settings.model_copy(update={"secret_keys": SecretStr(Fernet.generate_key().decode())})
    one = await post(services)
    [shown] = await deliver(services, other_key, [one])
    first, probe = shown["attempts"]
    for attempt in (first, probe):
        assert (shown["state"], attempt["outcome"], attempt["certainty"]) == ("held", "misconfigured", "not_sent")
        assert "WRAPUP_SECRET_KEYS" in attempt["reply_details"]
    assert "WRAPUP_SECRET_KEYS" in str((await services.accounts.get(CUSTOMER)).hold_reason)
    assert sandbox.log == []
    await services.accounts.release(CUSTOMER, actor="test")  # once the worker has the right key
    [shown] = await deliver(services, settings, [one])
    assert (shown["state"], shown["attempt_count"]) == ("delivered", 3)


async def test_an_error_of_our_own_is_an_attempt_of_unknown_outcome(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await ask(services, "UPDATE accounts SET api = 'of a newer Wrapup'")
    one = await post(services)
    [shown] = await deliver(services, settings.model_copy(update={"max_attempts": 1}), [one])
    [attempt] = shown["attempts"]
    assert (attempt["outcome"], attempt["certainty"]) == ("no_reply", "sent_unknown")
    assert "KeyError" in attempt["reply_details"]


# Call-back times and pauses.


async def test_the_account_remembers_which_callback_format_is_taken(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.account(CUSTOMER, callback_formats=["mdy"])
    ids = [await post(services, ucid(1), callback_time="2026-12-24 10:30:00")]
    [first] = await deliver(services, settings, ids)
    assert [attempt["outcome"] for attempt in first["attempts"]] == ["invalid_callback_time", "saved"]
    assert first["attempts"][1]["notes"] == ["callback_time written as mdy, the other format"]
    assert (await services.accounts.get(CUSTOMER)).callback_format == "mdy"
    [second] = await deliver(services, settings, [await post(services, ucid(2), callback_time="2026-12-25 10:30:00")])
    assert [attempt["outcome"] for attempt in second["attempts"]] == ["saved"]
    assert sandbox.call(ucid(2)).held.callback_time == "12/25/2026 10:30:00"  # type: ignore[union-attr]

    sandbox.account(CUSTOMER, callback_formats=["ymd"])  # and if they change it back
    [third] = await deliver(services, settings, [await post(services, ucid(3), callback_time="2026-12-26 10:30:00")])
    assert [attempt["outcome"] for attempt in third["attempts"]] == ["invalid_callback_time", "saved"]
    assert (await services.accounts.get(CUSTOMER)).callback_format == "ymd"


async def test_the_other_callback_format_is_kept_through_attempts_that_show_nothing_about_it(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.account(CUSTOMER, callback_formats=["mdy"])
    sandbox.script(UCID, "ok,503,reset_before,ok")
    [shown] = await deliver(services, settings, [await post(services, callback_time="2026-12-24 10:30:00")])
    assert [attempt["outcome"] for attempt in shown["attempts"]] == [
        "invalid_callback_time",
        "upstream_error",
        "no_reply",
        "saved",
    ]
    written = [request.parameters["callBackTime"] for request in sandbox.log]
    assert written == ["2026-12-24 10:30:00"] + ["12/24/2026 10:30:00"] * 3


@pytest.mark.parametrize(("minutes", "paused"), [(4, True), (6, False)])
async def test_a_pause_is_left_out_when_it_would_come_too_late(
    services: Services, settings: Settings, sandbox: Sandbox, minutes: int, paused: bool
) -> None:
    one = await post(services, pause_after_dispose=True)
    await ask(services, "UPDATE dispositions SET created_at = created_at - make_interval(mins => :n)", n=minutes)
    [shown] = await deliver(services, settings, [one])
    assert sandbox.call(UCID).held.pause_after_dispose is paused  # type: ignore[union-attr]
    notes = shown["attempts"][0]["notes"]
    assert notes == ([] if paused else ["pause_after_dispose left out: too long after acceptance"])
    assert shown["pause_after_dispose"] is True  # what was asked stays on record


PASSED = {"callback_time": "2020-12-24 10:30:00", "callback_time_zone": "Europe/London"}


async def test_a_callback_time_that_has_passed_is_delivered_and_the_attempt_says_so(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    [shown] = await deliver(services, settings, [await post(services, **PASSED)])
    assert (shown["state"], shown["attempts"][0]["notes"]) == ("delivered", ["callback_time has passed"])
    assert sandbox.call(UCID).held.callback_time == "2020-12-24 10:30:00"  # type: ignore[union-attr]


async def test_a_callback_time_that_has_passed_is_held_back_for_a_person_whose_word_is_a_retry(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await services.accounts.set(CUSTOMER, AccountSettings(late_callback="review"), actor="test")
    late, early = (
        await post(services, ucid(1), **PASSED),
        await post(services, ucid(2), callback_time="2099-12-24 10:30"),
    )
    shown, other = await deliver(services, settings, [late, early])
    [attempt] = shown["attempts"]
    assert (shown["state"], shown["cause"]) == ("failed", "callback_passed")
    assert (attempt["outcome"], attempt["certainty"], attempt["http_status"]) == ("callback_passed", "not_sent", None)
    assert [request.ucid for request in sandbox.log] == [ucid(2)]
    assert (other["state"], other["attempts"][0]["notes"]) == ("delivered", [])

    sandbox.script(ucid(1), "503,ok")  # what a person has seen once is not held back again
    await services.actions.retry(late, OPERATOR, reason="still wanted")
    [shown] = await deliver(services, settings, [late])
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["callback_passed", "upstream_error", "saved"]
    assert [attempt["notes"] for attempt in shown["attempts"][1:]] == [["callback_time has passed"]] * 2


# What nobody can know.


@pytest.mark.parametrize(
    ("fault", "flagged"), [("reset_after", True), ("garbage", True), ("503", False), ("reset_after,ok", False)]
)
async def test_what_is_sent_after_an_older_one_of_unknown_outcome_says_so_on_attempt_and_call(
    services: Services, settings: Settings, sandbox: Sandbox, fault: str, flagged: bool
) -> None:
    sandbox.script(UCID, [f"{step}+latency:100ms" for step in fault.split(",")])
    older = await post(services, disposition="Call back")
    async with pumping(settings) as deliverer:
        if "," in fault:
            await settle(services, deliverer)  # its repeat was answered, so all is known
        else:
            await sandbox.arrivals(1)
        newer = await post(services, disposition="Sale")
        await settle(services, deliverer)
    assert (await show(services, older))["state"] == ("delivered" if "," in fault else "superseded")
    shown = await show(services, newer)
    note = "an older disposition of this call, of unknown outcome, may reach CloudAgent after this one"
    assert shown["attempts"][0]["notes"] == ([note] if flagged else [])
    [call] = await ask(services, "SELECT after_unknown_at FROM calls")
    assert (call.after_unknown_at is not None) == flagged


async def test_after_a_lost_worker_the_newer_one_says_that_the_older_one_may_come_after_it(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.script(UCID, "hang_after")
    await post(services, disposition="Call back")
    async with pumping(settings.model_copy(update={"call_deadline_seconds": 30})) as lost:
        await sandbox.arrivals(1)
        newer = await post(services, disposition="Sale")
        lost.pump.wake()
        assert (await show(services, newer))["state"] == "queued"  # it waits for the lease
        await ask(services, LEASES_RUN_OUT)
        async with pumping(settings, kind="scheduler") as living:
            await living.upkeep.tick()
            await settle(services, living)
        lost.pump.stop()
        sandbox.hang_up()
    shown = await show(services, newer)
    assert shown["state"] == "delivered"
    assert shown["attempts"][0]["notes"][0].startswith("an older disposition of this call, of unknown outcome")
