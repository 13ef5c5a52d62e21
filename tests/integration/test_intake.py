"""Intake: stored before it is answered, duplicates known, one call's dispositions in order, nothing half done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import psycopg
import pytest
from deliveries import CUSTOMER, UCID, ask, fields, open_account, post, show, ucid, until
from pydantic import SecretStr

from app.domain.errors import InvalidInput, KeyReused, NotStored
from app.domain.lifecycle import State
from app.sandbox import Sandbox
from app.services.intake import Receipt
from app.services.keys import OPERATOR, Caller
from app.settings import Settings
from app.wiring import Services, open_services

pytestmark = pytest.mark.usefixtures("account")

CRM = Caller("client:crm", frozenset({"submit"}))
SHOP = Caller("client:shop", frozenset({"submit"}))


@pytest.fixture
async def neighbour(settings: Settings) -> AsyncIterator[Services]:
    """A second API process, but for the process."""
    async with open_services(settings, name="neighbour") as opened:
        yield opened


async def accept(
    services: Services, ucid: str = UCID, *, caller: Caller = OPERATOR, key: str | None = None, **changes: object
) -> Receipt:
    return await services.intake.accept(fields(ucid, **changes), caller, idempotency_key=key)


async def stored(services: Services) -> dict[UUID, str]:
    """The states of all dispositions."""
    return {row.id: row.state for row in await ask(services, "SELECT id, state FROM dispositions ORDER BY seq")}


async def faults_of(services: Services, caller: Caller = OPERATOR, **changes: object) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        await services.intake.accept(fields(**changes), caller)
    return {fault.field: fault.message for fault in refused.value.faults}


# Stored.


async def test_what_has_a_receipt_is_committed(services: Services, settings: Settings) -> None:
    receipt = await accept(services, comments="wants the blue one", reference="deal-7")
    with psycopg.connect(_url(settings)) as connection:  # nobody of ours
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
    await asyncio.gather(*(accept(services, ucid(number)) for number in range(200)))
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
    assert len(await stored(services)) == 2


async def test_one_key_at_two_processes_at_once_is_one_disposition(services: Services, neighbour: Services) -> None:
    both = [services, neighbour]
    receipts = await asyncio.gather(*(accept(both[number % 2], key="k1") for number in range(40)))
    assert len({receipt.id for receipt in receipts}) == 1
    assert sum(not receipt.duplicate for receipt in receipts) == 1


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


# Trouble.


async def test_poison_among_others_fails_alone(services: Services) -> None:
    await ask(services, "ALTER TABLE dispositions ADD CHECK (disposition <> 'poison')")
    codes = ["poison" if number in (3, 17) else f"code {number}" for number in range(30)]
    results = await asyncio.gather(
        *(accept(services, ucid(number % 25), disposition=code) for number, code in enumerate(codes)),
        return_exceptions=True,
    )
    assert [code for code, result in zip(codes, results, strict=True) if isinstance(result, NotStored)] == [
        "poison",
        "poison",
    ]
    receipts = [result for result in results if isinstance(result, Receipt)]
    assert set(await stored(services)) == {receipt.id for receipt in receipts}
    assert len(receipts) == 28


# Makes each COMMIT of dispositions take a while.
SLOW_COMMIT = """
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(30); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON dispositions DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.disposition = 'slow') EXECUTE FUNCTION dawdle();
"""
COMMITTING = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


async def test_a_database_that_goes_away_within_the_commit_leaves_exactly_those_unanswered(services: Services) -> None:
    await ask(services, SLOW_COMMIT)
    before = await accept(services, ucid(1))
    lost = [asyncio.create_task(accept(services, ucid(number), disposition="slow")) for number in range(2, 5)]
    await until(lambda: ask(services, f"SELECT {COMMITTING}"))
    after = await accept(services, ucid(9))  # by the second writer, meanwhile
    await ask(services, f"SELECT pg_terminate_backend(pid) {COMMITTING}")
    results = await asyncio.gather(*lost, return_exceptions=True)
    assert [type(result) for result in results] == [NotStored] * 3
    assert set(await stored(services)) == {before.id, after.id}
    again = await accept(services, ucid(2))
    assert not again.duplicate


class LosesAnAnswer:
    """A way to PostgreSQL that breaks off once: between ``request``, when that has been set, and its answer."""

    def __init__(self, server: str, folder: str) -> None:
        self.server = f"{server}/.s.PGSQL.5432"
        self.own = f"{folder}/.s.PGSQL.5432"
        self.request: bytes | None = None
        self.lost = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes one connection."""
        behind, server = await asyncio.open_unix_connection(self.server)
        sent = asyncio.Event()

        async def forth() -> None:
            while data := await reader.read(65536):
                if self.request is not None and self.request in data:
                    self.request = None
                    sent.set()
                server.write(data)
            server.close()

        async def back() -> None:
            while data := await behind.read(65536):
                if sent.is_set():
                    self.lost += 1
                    break
                writer.write(data)
            writer.close()

        for way in (forth(), back()):
            task = asyncio.create_task(way)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


@pytest.fixture
async def way(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LosesAnAnswer]:
    """A way to this test's database that may lose an answer."""
    server = psycopg.conninfo.conninfo_to_dict(_url(settings))["host"]
    way = LosesAnAnswer(str(server), str(tmp_path_factory.mktemp("pg")))
    async with await asyncio.start_unix_server(way.meet, way.own):
        yield way


NEW_CALLS = b"INSERT INTO calls"
KNOWN_CALLS = b"\x0bCOMMIT"  # the statement, and not the end of READ COMMITTED


@pytest.mark.parametrize("losing", [NEW_CALLS, KNOWN_CALLS], ids=["of new calls", "of calls that are there"])
async def test_a_commit_whose_answer_is_lost_is_looked_up(
    services: Services, settings: Settings, way: LosesAnAnswer, losing: bytes
) -> None:
    before = {(await accept(services, ucid(number))).id for number in (1, 2, 3) if losing == KNOWN_CALLS}
    url = _url(settings).split("?")[0] + f"?host={way.own.rpartition('/')[0]}&port=5432"
    async with open_services(settings.model_copy(update={"database_url": SecretStr(url)}), name="lossy") as lossy:
        await accept(lossy, ucid(9))
        way.request = losing
        receipts = await asyncio.gather(*(accept(lossy, ucid(number), disposition="B") for number in (1, 2, 3)))
    assert way.lost == 1
    assert [receipt.duplicate for receipt in receipts] == [False] * 3
    live = {one for one, state in (await stored(services)).items() if state == "queued"}
    assert live >= {receipt.id for receipt in receipts}
    assert len(live) == 4
    assert not live & before


def _url(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


async def test_a_database_that_is_not_there_stores_nothing_and_says_so(
    services: Services, sandbox: Sandbox, settings: Settings
) -> None:
    await accept(services)
    nowhere = SecretStr("postgresql://postgres@/wrapup?host=/nowhere")
    async with open_services(settings.model_copy(update={"database_url": nowhere}), name="test") as cut_off:
        with pytest.raises(NotStored):
            await accept(cut_off)


async def test_more_than_the_queue_holds_is_turned_away_and_the_rest_is_stored(
    settings: Settings, services: Services
) -> None:
    async with open_services(settings.model_copy(update={"intake_queue": 5}), name="test") as small:
        await accept(small, ucid(99))
        results = await asyncio.gather(*(accept(small, ucid(number)) for number in range(50)), return_exceptions=True)
    receipts = [result for result in results if isinstance(result, Receipt)]
    refused = [result for result in results if isinstance(result, NotStored)]
    assert len(receipts) + len(refused) == 50
    assert receipts
    assert refused
    assert refused[0].retry_after == 2
    assert len(await stored(services)) == len(receipts) + 1


async def test_two_processes_hammering_the_same_calls_in_any_order_never_block_each_other(
    services: Services, neighbour: Services
) -> None:
    random = Random(11)

    async def hammer(here: Services, rounds: int) -> list[Receipt | BaseException]:
        results: list[Receipt | BaseException] = []
        for _ in range(rounds):
            calls = random.sample(range(20), 20)
            results += await asyncio.gather(
                *(
                    accept(
                        here,
                        ucid(call),
                        disposition=random.choice("ABC"),
                        key=random.choice([None, None, f"key{random.randrange(200)}"]),
                    )
                    for call in calls
                ),
                return_exceptions=True,
            )
        return results

    results = [one for each in await asyncio.gather(hammer(services, 12), hammer(neighbour, 12)) for one in each]
    assert {type(result) for result in results} <= {Receipt, KeyReused}
    [row] = await ask(services, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert row.deadlocks == 0
    new = {result.id for result in results if isinstance(result, Receipt) and not result.duplicate}
    assert set(await stored(services)) == new
    wrong = await ask(
        services,
        "SELECT calls.ucid FROM calls JOIN dispositions d ON d.call_id = calls.id GROUP BY calls.id "
        "HAVING count(*) <> last_seq OR max(seq) <> last_seq OR count(*) FILTER (WHERE state = 'queued') <> 1 "
        "OR max(seq) FILTER (WHERE state = 'queued') <> last_seq "
        "OR (array_agg(d.id ORDER BY seq DESC))[1] <> newest_id OR next_at IS NULL",
    )
    assert wrong == []


async def test_closing_waits_for_what_was_taken_in_hand(settings: Settings, services: Services) -> None:
    async with open_services(settings, name="test") as closing:
        await accept(closing)  # the account is known now
        tasks = [asyncio.create_task(accept(closing, ucid(number))) for number in range(1, 20)]
        await asyncio.sleep(0)
    receipts = await asyncio.gather(*tasks)
    assert len(await stored(services)) == 20
    assert len({receipt.id for receipt in receipts}) == 19
