"""Intake in trouble: the database goes away, refuses a row, is too slow, or is fought over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import psycopg
import pytest
from deliveries import accept, ask, stored, ucid, until, url_of
from pydantic import SecretStr

from app.domain.errors import KeyReused, NotStored
from app.services.intake import Receipt
from app.settings import Settings
from app.wiring import Services, open_services

pytestmark = pytest.mark.usefixtures("account")


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
    server = psycopg.conninfo.conninfo_to_dict(url_of(settings))["host"]
    way = LosesAnAnswer(str(server), str(tmp_path_factory.mktemp("pg")))
    async with await asyncio.start_unix_server(way.meet, way.own):
        yield way


NEW_CALLS = b'"disposition":"B"'  # their rows: the statement itself was prepared before
KNOWN_CALLS = b"\x0bCOMMIT"  # the statement, and not the end of READ COMMITTED


@pytest.mark.parametrize("losing", [NEW_CALLS, KNOWN_CALLS], ids=["of new calls", "of calls that are there"])
async def test_a_commit_whose_answer_is_lost_is_looked_up(
    services: Services, settings: Settings, way: LosesAnAnswer, losing: bytes
) -> None:
    before = {(await accept(services, ucid(number))).id for number in (1, 2, 3) if losing == KNOWN_CALLS}
    url = url_of(settings).split("?")[0] + f"?host={way.own.rpartition('/')[0]}&port=5432"
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


async def test_a_database_that_is_not_there_stores_nothing_and_says_so(services: Services, settings: Settings) -> None:
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
