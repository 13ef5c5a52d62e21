"""The audit trail: the same as going through all lines, page by page, and found without doing so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.storage import audit
from app.storage.audit import Wanted
from app.storage.engine import make_engine
from tests.benchmarks.crowd import fill

NUMBER = 20_000
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def crowded(database_of_module: str) -> str:
    """A database with twenty thousand dispositions, and a person who came by long ago."""
    fill(database_of_module, NUMBER)
    with psycopg.connect(database_of_module, autocommit=True) as connection:
        connection.execute(
            "UPDATE events SET actor = 'user:anna', action = 'retried', address = '203.0.113.9' WHERE id IN (77, 7777)"
        )
        connection.execute("UPDATE events SET actor = 'schedule:nightly', action = 'retried' WHERE id IN (78, 7778)")
        connection.execute("VACUUM ANALYZE events")
    return database_of_module


@pytest.fixture
async def engine(crowded: str) -> AsyncIterator[AsyncEngine]:
    opened = make_engine(crowded, name="test")
    yield opened
    await opened.dispose()


@pytest.mark.parametrize(
    ("wanted", "condition"),
    [
        (Wanted(), "true"),
        (Wanted(actor="user:anna"), "actor = 'user:anna'"),
        (Wanted(actor="schedule:nightly"), "actor = 'schedule:nightly'"),
        (Wanted(actor="schedule:nightly", people=True), "false"),
        (Wanted(actor="client:crm-2"), "actor = 'client:crm-2'"),
        (Wanted(action="account held"), "action = 'account held'"),
        (Wanted(action="failed", accounts=["account-3"]), "action = 'failed' AND account_id = 3"),
        (Wanted(subject="account:account-2"), "subject = 'account:account-2'"),
        (Wanted(only_accounts=frozenset({"account-1"})), "account_id = 1"),
        (Wanted(accounts=["nobody"]), "false"),
        (Wanted(people=True), "actor = 'user:anna'"),
        (Wanted(people=True, actor="client:ops"), "false"),
        (Wanted(people=True, action="account held"), "false"),
        (Wanted(people=True, action="retried", accounts=["account-3"]), "actor = 'user:anna' AND account_id = 3"),
        (
            Wanted(since=NOW - timedelta(days=40), until=NOW - timedelta(days=30)),
            "at >= now() - interval '40 days' AND at < now() - interval '30 days'",
        ),
        (
            Wanted(actor="user:anna", until=NOW - timedelta(days=59)),
            "actor = 'user:anna' AND at < now() - interval '59d'",
        ),
    ],
)
async def test_the_trail_equals_what_going_through_all_gives(
    engine: AsyncEngine, wanted: Wanted, condition: str
) -> None:
    async with engine.connect() as connection:
        query = text(f"SELECT id FROM events WHERE {condition} ORDER BY id DESC")
        expected = [*(await connection.scalars(query)).all()]
        seen: list[int] = []
        under: int | None = None
        while True:
            found = await audit.page(connection, wanted, under=under, limit=5_000)
            seen += [row.id for row in found.rows]
            if found.next is None:
                break
            under = found.next
    # Times are told to within the test's own duration.
    assert len(set(seen) ^ set(expected)) <= (20 if wanted.since or wanted.until else 0)
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(actor="user:anna"),
        Wanted(action="account held"),
        Wanted(subject="account:account-2"),
        Wanted(people=True),
        Wanted(people=True, accounts=["account-3"]),
        Wanted(action="account held", actor="client:ops"),
        Wanted(since=NOW - timedelta(days=40), until=NOW - timedelta(days=39)),
    ],
)
async def test_a_page_of_the_trail_is_found_by_indexes_and_reads_little(engine: AsyncEngine, wanted: Wanted) -> None:
    async def reads() -> tuple[int, int]:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
            counters = "SELECT seq_scan, idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'events'"
            scans, fetched = (await connection.execute(text(counters))).one()
            return scans, fetched

    before = await reads()
    async with engine.connect() as connection:
        await audit.page(connection, wanted, under=None, limit=20)
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
    scans, fetched = await reads()
    assert scans == before[0]
    assert fetched - before[1] < 500


async def test_a_page_looks_at_no_more_than_a_stretch_and_says_where_to_go_on(engine: AsyncEngine) -> None:
    wanted = Wanted(actor="client:stranger")
    async with engine.connect() as connection:
        highest = await connection.scalar(text("SELECT max(id) FROM events"))
        first = await audit.page(connection, wanted, under=None, limit=20, stretch=1_000)
        assert (list(first.rows), first.next) == ([], highest - 999)
        rest = await audit.page(connection, wanted, under=1_000, limit=20, stretch=1_000)
        assert (list(rest.rows), rest.next) == ([], None)
