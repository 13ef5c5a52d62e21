"""Intake: stored before it is answered, duplicates known, one call's dispositions in order, nothing half done."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from deliveries import (
    CUSTOMER,
    UCID,
    accept,
    ask,
    fields,
    open_account,
    post,
    show,
    somebody_waits,
    stored,
    ucid,
    url_of,
)

from app.domain.errors import InvalidInput, KeyReused, NotStored
from app.domain.lifecycle import State
from app.sandbox import Sandbox
from app.services.intake import Receipt
from app.services.keys import OPERATOR, Caller
from app.settings import Settings
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")

CRM = Caller("client:crm", frozenset({"submit"}))
SHOP = Caller("client:shop", frozenset({"submit"}))


async def faults_of(services: Services, caller: Caller = OPERATOR, **changes: object) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        await services.intake.accept(fields(**changes), caller)
    return {fault.field: fault.message for fault in refused.value.faults}


# Stored.


async def test_what_has_a_receipt_is_committed(services: Services, settings: Settings) -> None:
    receipt = await accept(services, comments="wants the blue one", reference="deal-7")
    with psycopg.connect(url_of(settings)) as connection:  # nobody of ours
        row = connection.execute(
            "SELECT d.id, state, comments, reference, d.ucid, seq, next_at <= now() AS due "
            "FROM dispositions d JOIN calls ON calls.id = call_id"
        ).fetchone()
    assert row == (receipt.id, "queued", "wants the blue one", "deal-7", UCID, 1, True)
    assert receipt == Receipt(receipt.id, State.QUEUED, CUSTOMER, UCID, duplicate=False)


async def test_what_was_asked_is_shown_as_it_was_asked(services: Services) -> None:
    asked = {
        "comments": "two\nlines",
        "callback_time": "2026-12-24 10:30:00",
        "callback_time_zone": "Europe/Berlin",
        "pause_after_dispose": True,
        "pause_reason": "Lunch",
        "reference": "deal-7",
        "occurred_at": "2026-11-20T10:30:00+05:30",
        "max_age_seconds": 3600,
    }
    shown = await show(services, (await accept(services, caller=CRM, **asked)).id)
    for name in ("comments", "callback_time", "callback_time_zone", "pause_after_dispose", "pause_reason", "reference"):
        assert shown[name] == asked[name]
    assert shown["occurred_at"] == datetime(2026, 11, 20, 5, 0, tzinfo=UTC)
    assert shown["expires_at"] - shown["created_at"] == timedelta(hours=1)
    assert (shown["account"], shown["ucid"], shown["state"]) == (CUSTOMER, UCID, "queued")
    [event] = shown["events"]
    assert (event["actor"], event["action"], event["from"], event["to"]) == ("client:crm", "accepted", None, "queued")


async def test_without_an_age_of_its_own_it_gets_the_default(services: Services) -> None:
    shown = await show(services, await post(services))
    assert shown["expires_at"] - shown["created_at"] == timedelta(hours=72)


async def test_what_comes_at_once_is_stored_in_few_commits(services: Services) -> None:
    await accept(services, ucid(0))  # the account is known from here on, and the connections are open
    await asyncio.gather(*(accept(services, ucid(number)) for number in range(1, 200)))
    [row] = await ask(services, "SELECT count(*) AS n, count(DISTINCT xmin::text) AS commits FROM dispositions")
    assert row.n == 200
    assert row.commits <= 20


# Duplicates.


async def test_the_same_again_is_a_duplicate_of_the_first(services: Services) -> None:
    first = await accept(services)
    assert await accept(services, customer=CUSTOMER) == Receipt(first.id, State.QUEUED, CUSTOMER, UCID, duplicate=True)
    assert await stored(services) == {first.id: "queued"}


async def test_after_the_window_the_same_is_another_one(services: Services) -> None:
    first = await accept(services)
    await ask(services, "UPDATE calls SET newest_accepted_at = newest_accepted_at - interval '11 minutes'")
    second = await accept(services)
    assert not second.duplicate
    assert await stored(services) == {first.id: "superseded", second.id: "queued"}


async def test_a_then_b_then_a_again_are_three_and_the_last_is_live(services: Services) -> None:
    receipts = [await accept(services, disposition=code) for code in ("A", "B", "A")]
    assert [receipt.duplicate for receipt in receipts] == [False, False, False]
    assert await stored(services) == dict(
        zip([receipt.id for receipt in receipts], ["superseded", "superseded", "queued"], strict=True)
    )


async def test_the_duplicate_of_one_that_is_delivered_shows_that_state(services: Services) -> None:
    first = await accept(services)
    await ask(services, "UPDATE dispositions SET state = 'delivered'")
    assert await accept(services) == Receipt(first.id, State.DELIVERED, CUSTOMER, UCID, duplicate=True)


async def test_fifty_of_the_same_at_two_processes_at_once_are_one(services: Services, neighbour: Services) -> None:
    both = [services, neighbour]
    receipts = await asyncio.gather(*(accept(both[number % 2]) for number in range(50)))
    assert len({receipt.id for receipt in receipts}) == 1
    assert sum(not receipt.duplicate for receipt in receipts) == 1
    assert len(await stored(services)) == 1


# Idempotency keys.


async def test_the_same_key_and_body_give_the_original_whatever_came_meanwhile(services: Services) -> None:
    first = await accept(services, key="k1", disposition="A")
    await accept(services, key="k2", disposition="B")
    again = await accept(services, key="k1", disposition="A")
    assert again == Receipt(first.id, State.SUPERSEDED, CUSTOMER, UCID, duplicate=True)
    assert len(await stored(services)) == 2


async def test_another_key_makes_the_same_body_another_disposition(services: Services) -> None:
    first = await accept(services, key="k1")
    second = await accept(services, key="k2")
    assert (first.id != second.id, second.duplicate) == (True, False)


@pytest.mark.parametrize("change", [{"disposition": "Other"}, {"ucid": ucid(5)}, {"comments": "more"}])
async def test_the_same_key_with_another_body_is_refused(services: Services, change: dict[str, str]) -> None:
    first = await accept(services, key="k1")
    with pytest.raises(KeyReused, match=str(first.id)):
        await services.intake.accept(fields(**change), OPERATOR, idempotency_key="k1")
    assert await stored(services) == {first.id: "queued"}


async def test_a_key_used_twice_within_one_group_is_known_too(services: Services) -> None:
    await accept(services, ucid(9))  # the account is known now, so those that follow come in their order
    results = await asyncio.gather(
        accept(services, key="k1", disposition="A"),
        accept(services, key="k1", disposition="A"),
        accept(services, key="k1", disposition="B"),
        accept(services, ucid(1)),
        return_exceptions=True,
    )
    first, again, reused, other = results
    assert isinstance(first, Receipt)
    assert again == Receipt(first.id, State.QUEUED, CUSTOMER, UCID, duplicate=True)
    assert isinstance(reused, KeyReused)
    assert isinstance(other, Receipt)
    assert len(await stored(services)) == 3


async def test_one_key_at_two_processes_at_once_is_one_disposition(services: Services, neighbour: Services) -> None:
    both = [services, neighbour]
    receipts = await asyncio.gather(*(accept(both[number % 2], key="k1") for number in range(40)))
    assert len({receipt.id for receipt in receipts}) == 1
    assert sum(not receipt.duplicate for receipt in receipts) == 1


async def test_a_key_that_is_pruned_while_it_is_asked_for_is_taken_anew(services: Services, settings: Settings) -> None:
    first = await accept(services, key="k1")
    async with await psycopg.AsyncConnection.connect(url_of(settings)) as other:
        await other.execute(  # whoever takes k2 has passed k1, and waits
            "INSERT INTO idempotency_keys (client, account_id, key, print, disposition_id) "
            "SELECT client, account_id, 'k2', print, disposition_id FROM idempotency_keys"
        )
        group = asyncio.gather(
            accept(services, key="k1", disposition="B"), accept(services, ucid(1), key="k2"), accept(services, ucid(2))
        )
        await somebody_waits(services)
        await ask(services, "DELETE FROM idempotency_keys WHERE key = 'k1'")
        await other.rollback()
    receipts = await group
    assert not any(receipt.duplicate for receipt in receipts)  # the group was written once
    assert await stored(services) == {first.id: "superseded"} | dict.fromkeys((one.id for one in receipts), "queued")


async def test_a_key_whose_disposition_is_gone_is_not_stored_and_harms_no_neighbour(services: Services) -> None:
    await accept(services, key="k1")
    await ask(services, "DELETE FROM dispositions")
    repeated, neighbour = await asyncio.gather(
        accept(services, key="k1"), accept(services, ucid(1)), return_exceptions=True
    )
    assert isinstance(repeated, NotStored)
    assert isinstance(neighbour, Receipt)
    assert not neighbour.duplicate
    assert await stored(services) == {neighbour.id: "queued"}


async def test_a_key_belongs_to_its_client(services: Services) -> None:
    of_crm = await accept(services, caller=CRM, key="k1", disposition="A")
    of_shop = await accept(services, caller=SHOP, key="k1", disposition="B")
    assert (of_crm.id != of_shop.id, of_shop.duplicate) == (True, False)
    assert (await accept(services, caller=CRM, key="k1", disposition="A")).id == of_crm.id


@pytest.mark.parametrize("key", ["", "a b", "ü", "a\0b", "x" * 256, "\ud800"])
async def test_a_key_that_is_no_key_is_refused(services: Services, key: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 255 visible"):
        await accept(services, key=key)


# Order.


async def test_a_newer_one_supersedes_what_waits_and_says_so(services: Services) -> None:
    older = await accept(services, caller=CRM, disposition="A")
    newer = await accept(services, caller=SHOP, disposition="B")
    shown = await show(services, older.id)
    assert (shown["state"], shown["superseded_by"]) == ("superseded", newer.id)
    assert shown["finished_at"] is not None
    event = shown["events"][-1]
    assert (event["actor"], event["action"], event["from"], event["to"]) == (
        "client:shop",
        "superseded",
        "queued",
        "superseded",
    )
    assert event["reason"] == f"superseded by {newer.id}"


async def test_what_occurred_before_the_newest_is_stored_and_superseded_at_once(services: Services) -> None:
    newest = await accept(services, disposition="B", occurred_at="2026-11-20T10:00:00Z")
    late = await accept(services, disposition="A", occurred_at="2026-11-20T09:59:59Z")
    assert late.state is State.SUPERSEDED
    shown = await show(services, late.id)
    assert (shown["state"], shown["superseded_by"], shown["attempt_count"]) == ("superseded", newest.id, 0)
    assert shown["finished_at"] is not None
    [event] = shown["events"]
    assert (event["action"], event["from"], event["to"]) == ("superseded", None, "superseded")
    assert str(newest.id) in event["reason"]
    assert (await show(services, newest.id))["state"] == "queued"
    later = await accept(services, disposition="C", occurred_at="2026-11-20T10:00:01Z")
    assert [later.state, (await show(services, newest.id))["state"]] == [State.QUEUED, "superseded"]


async def test_within_one_group_the_order_is_that_of_the_agents_choices(services: Services) -> None:
    receipts = await asyncio.gather(
        *(accept(services, disposition=code, occurred_at=f"2026-11-20T10:00:0{code}Z") for code in "31524")
    )
    live = [receipt.id for receipt in receipts if (await show(services, receipt.id))["state"] == "queued"]
    assert live == [receipts[2].id]


async def test_a_clock_that_runs_ahead_shuts_nobody_out(services: Services) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    await accept(services, disposition="A", occurred_at=ahead)
    assert (await accept(services, disposition="B")).state is State.QUEUED


# Accounts.


async def test_an_unknown_account_is_one_fault_among_the_others(services: Services) -> None:
    faults = await faults_of(services, account="nobody", ucid="12x", disposition="")
    assert set(faults) == {"account", "ucid", "disposition"}
    assert faults["account"] == "There is no account 'nobody'. Check CloudAgent's user name."
    assert await faults_of(services, account="nobody") == {"account": faults["account"]}


async def test_the_account_is_named_as_the_caller_named_it(services: Services) -> None:
    request = {name: value for name, value in fields().items() if name != "account"}
    with pytest.raises(InvalidInput) as refused:
        await services.intake.accept(request | {"customer": "nobody"}, OPERATOR)
    assert [fault.field for fault in refused.value.faults] == ["customer"]
    receipt = await services.intake.accept(request | {"customer": CUSTOMER, "account": ""}, OPERATOR)
    assert receipt.account == CUSTOMER


@pytest.mark.parametrize("account", ["a\0b", "\ud800", "x" * 100_000, "", "  ", None, 7, ["sandbox"]])
async def test_an_account_that_can_be_none_is_one_fault_and_no_question_to_the_database(
    services: Services, account: object
) -> None:
    assert set(await faults_of(services, account=account, ucid="12x")) == {"account", "ucid"}


async def test_a_bound_key_needs_no_account_and_has_no_other(services: Services, sandbox: Sandbox) -> None:
    await open_account(services, sandbox, "other")
    bound = Caller("client:crm", frozenset({"submit"}), frozenset({CUSTOMER}))
    request = {name: value for name, value in fields().items() if name != "account"}
    assert (await services.intake.accept(request, bound)).account == CUSTOMER
    assert (await services.intake.accept(request | {"account": " "}, bound)).duplicate
    faults = await faults_of(services, bound, account="other")
    assert faults == {"account": "There is no account 'other'. Check CloudAgent's user name."}
    bound_to_two = Caller("client:crm", frozenset({"submit"}), frozenset({CUSTOMER, "other"}))
    with pytest.raises(InvalidInput, match="account is missing"):
        await services.intake.accept(request, bound_to_two)


async def test_nothing_of_a_refused_losingis_stored(services: Services) -> None:
    await faults_of(services, ucid="12x")
    assert await stored(services) == {}
    assert await ask(services, "SELECT FROM calls") == []
