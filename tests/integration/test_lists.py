"""Lists among twenty thousand: the same as going through all of them, and found without doing so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.cursor import Cursor, neighbours
from app.domain.filters import Filter, parse_filter
from app.domain.lifecycle import State
from app.storage import lists, reports
from app.storage.engine import make_engine
from app.storage.filters import narrowed
from tests.benchmarks.crowd import fill

NUMBER = 20_000
LIMIT = 20


@pytest.fixture(scope="module")
def crowded(database_of_module: str) -> str:
    """A database with twenty thousand, an account of them on hold."""
    fill(database_of_module, NUMBER)
    with psycopg.connect(database_of_module, autocommit=True) as connection:
        connection.execute("UPDATE accounts SET hold_cause = 'operator' WHERE id = 2")
    return database_of_module


@pytest.fixture
async def engine(crowded: str) -> AsyncIterator[AsyncEngine]:
    opened = make_engine(crowded, name="test")
    yield opened
    await opened.dispose()


def wanted(**fields: Any) -> Filter:
    return parse_filter({name.rstrip("_"): value for name, value in fields.items()}, datetime.now(UTC))


async def all_of(engine: AsyncEngine, one: Filter) -> list[Any]:
    """The ids of all that the filter takes, found by going through all."""
    async with engine.connect() as connection:
        rows = (await connection.execute(narrowed(reports.DISPOSITIONS, one))).all()
    return sorted((row.id for row in rows), reverse=True)


def some_filters(number: int) -> Iterator[dict[str, Any]]:
    random = Random(3)
    values = {
        "state": lambda: random.choice([*State]),
        "cause": lambda: random.choice(["invalid_agent", "refused", "expired"]),
        "account": lambda: f"account-{random.randint(1, 6)}",
        "agent_id": lambda: random.choice(["a7", "x3", "nobody"]),
        "did": lambda: f"9180{10_000_000 + random.randint(0, 41)}",
        "disposition": lambda: random.choice(["Sale", "Sle1", "none"]),
        "source": lambda: random.choice(["hubspot", "none"]),
        "ucid": lambda: str(2 * 10**15 + random.randint(1, NUMBER)),
        "reference": lambda: f"deal-{random.randint(1, NUMBER)}",
        "q": lambda: random.choice(["a7", "is locked", "Sle1", "deal-8"]),
        "from": lambda: f"{random.randint(30, 59)}d",
        "to": lambda: f"{random.randint(1, 29)}d",
    }
    for _ in range(number):
        names = random.sample(sorted(values), random.choice((1, 1, 2, 2, 3)))
        single = ("from", "to", "q")
        yield {
            name: values[name]() if name in single else [values[name]() for _ in range(random.choice((1, 2)))]
            for name in names
        }


async def test_a_list_equals_what_going_through_all_gives_page_by_page_and_back(engine: AsyncEngine) -> None:
    found_some = 0
    for fields in some_filters(150):
        one = wanted(**fields)
        expected = await all_of(engine, one)
        found_some += bool(expected)
        pages: list[list[Any]] = []
        cursor: Cursor | None = None
        async with engine.connect() as connection:
            while True:
                found = await lists.page(connection, one, cursor, limit=200)
                ids = [row.id for row in found.rows]
                pages.append(ids)
                assert found.total in (None, len(expected)), fields
                before, behind = neighbours(cursor, ids, more=found.more)
                assert (before is None) == (cursor is None), fields
                if behind is None or len(pages) == 4:
                    break
                cursor = behind
            seen = [identity for ids in pages for identity in ids]
            assert seen == expected[: len(seen)], fields
            assert len(pages) == 4 or len(seen) == len(expected), fields
            for earlier in reversed(pages[:-1]):
                found = await lists.page(connection, one, before, limit=200)
                ids = [row.id for row in found.rows]
                assert ids == earlier, fields
                before, _ = neighbours(before, ids, more=found.more)
            assert before is None, fields
    assert found_some > 60, "the filters were too narrow"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"state": "failed"},
        {"state": "held"},
        {"state": ["queued", "retrying"]},
        {"state": "cancelled", "account": "account-3"},
        {"account": "account-4"},
        {"cause": "refused"},
        {"agent_id": "a7"},
        {"agent_id": "nobody"},
        {"agent_id": "x3", "state": "failed"},
        {"did": "918010000003", "account": "account-2"},
        {"disposition": "Sle1"},
        {"disposition": "Sale", "agent_id": "a7", "state": "delivered"},
        {"failure": "FAILURE", "to": "1d"},
        {"ucid": str(2 * 10**15 + 77)},
        {"reference": "deal-78"},
        {"source": "hubspot"},
        {"from": "40d", "to": "39d"},
        {"q": "a7"},
        {"q": "918010000003"},
        {"q": "deal-78"},
        {"q": "is locked"},
    ],
    ids=str,
)
async def test_a_page_is_found_by_indexes_and_reads_little(engine: AsyncEngine, fields: dict[str, Any]) -> None:
    if "failure" in fields:
        async with engine.connect() as connection:
            failure = await connection.scalar(
                text("SELECT id FROM failures UNION SELECT failure_id FROM failure_deltas")
            )
            fields = {**fields, "failure": str(failure)}
    before = await reads(engine)
    async with engine.connect() as connection:
        await lists.page(connection, wanted(**fields), None, limit=LIMIT)
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
    after = await reads(engine)
    scanned = {table for table, (scans, _) in after.items() if scans > before[table][0]}
    assert scanned == set()
    # The newest of each lane; of two conditions, which holds for fewer; the newest attempts, for words.
    read = sum(rows - before[table][1] for table, (_, rows) in after.items())
    assert read < 6_000, {table: rows - before[table][1] for table, (_, rows) in after.items()}


READS = """
    SELECT relname, seq_scan, coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables
    WHERE relname IN ('dispositions', 'lookups', 'calls', 'attempts', 'events', 'failure_members')
"""


async def reads(engine: AsyncEngine) -> dict[str, tuple[int, int]]:
    """Of each large table: how often it was gone through, and how many rows were read by its indexes."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        return {name: (scans, fetched) for name, scans, fetched in await connection.execute(text(READS))}


async def test_what_went_through_all_would_be_noticed(engine: AsyncEngine) -> None:
    before = await reads(engine)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT count(*) FROM dispositions WHERE comments = 'none'"))
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
    assert (await reads(engine))["dispositions"][0] > before["dispositions"][0]


async def test_lookups_go_with_their_dispositions(crowded: str) -> None:
    with psycopg.connect(crowded) as connection:
        gone = "DELETE FROM dispositions WHERE id IN (SELECT id FROM dispositions WHERE state = 'delivered' LIMIT 100)"
        connection.execute(gone)
        left = "SELECT (SELECT count(*) FROM lookups), (SELECT count(*) FROM dispositions)"
        assert connection.execute(left).fetchone() == (NUMBER - 100, NUMBER - 100)
        connection.rollback()
