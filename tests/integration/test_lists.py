"""Lists among twenty thousand: the same as going through all of them, and found without doing so.

And among sixty thousand: found with no more than that.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.cursor import Cursor, neighbours
from app.domain.filters import Filter, parse_filter
from app.domain.lifecycle import State
from app.storage import lists, reports
from app.storage.engine import make_engine
from app.storage.filters import narrowed
from app.storage.walks import Stretch
from tests.benchmarks.crowd import fill
from tests.conftest import Databases

NUMBER = 20_000
LIMIT = 20
FEW = 5
SHORT = Stretch(rows=40, looked_up=20)
"""So short that what is seldom takes many pages of a few here, too."""
LARGE = ["dispositions", "lookups", "calls", "attempts", "events", "failure_members"]
MOST_BLOCKS = 700


@pytest.fixture(scope="module")
def crowded(database_of_module: str) -> str:
    """A database with twenty thousand, an account of them on hold."""
    fill(database_of_module, NUMBER)
    with psycopg.connect(database_of_module, autocommit=True) as connection:
        connection.execute("UPDATE accounts SET hold_cause = 'operator' WHERE id = 2")
    return database_of_module


@pytest.fixture(scope="module")
def more_crowded(databases: Databases) -> Iterator[str]:
    """A database with three times as many."""
    with databases.lend() as url:
        fill(url, 3 * NUMBER)
        yield url


@pytest.fixture
async def engine(crowded: str) -> AsyncIterator[AsyncEngine]:
    opened = make_engine(crowded, name="test")
    yield opened
    await opened.dispose()


@pytest.fixture
async def larger(more_crowded: str) -> AsyncIterator[AsyncEngine]:
    opened = make_engine(more_crowded, name="test")
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


async def test_a_list_that_is_seldom_is_found_page_by_page_and_back_a_stretch_at_a_time(engine: AsyncEngine) -> None:
    """A page may be short, and says so; all pages together have everything once, in order, both ways."""
    short = 0
    for fields in some_filters(80):
        one = wanted(**fields)
        expected = (await all_of(engine, one))[:60]
        async with engine.connect() as connection:
            seen: list[Any] = []
            cursor: Cursor | None = None
            while True:
                found = await lists.page(connection, one, cursor, limit=FEW, stretch=SHORT)
                seen += [row.id for row in found.rows]
                short += found.end is not None
                assert found.end is None or (found.more and len(found.rows) <= FEW), fields
                before, behind = neighbours(cursor, [row.id for row in found.rows], more=found.more, end=found.end)
                if behind is None or len(seen) >= 60:
                    break
                cursor = behind
            assert seen[:60] == expected, fields
            back = [row.id for row in found.rows]
            while before is not None:
                found = await lists.page(connection, one, before, limit=FEW, stretch=SHORT)
                ids = [row.id for row in found.rows]
                back = ids + back
                before, _ = neighbours(before, ids, more=found.more, end=found.end)
            assert back == seen, fields
    assert short > 20, "hardly any page was short"


PAIRS = {
    "state": ["superseded", "delivered"],
    "cause": ["invalid_agent"],
    "account": ["account-3"],
    "agent_id": ["a7"],
    "did": ["918010000003"],
    "disposition": ["Sale", "Old code"],
    "source": ["hubspot"],
    "q": ["a7", "is locked"],
    "from": ["40d"],
}
"""Values that hold for more than a stretch here, and some pairs of them for none."""


def pairs() -> Iterator[Filter]:
    for names in itertools.combinations(PAIRS, 2):
        for values in itertools.product(*(PAIRS[name] for name in names)):
            yield wanted(**dict(zip(names, values, strict=True)))


def grows(few: int, many: int) -> bool:
    """Whether it is more than that an index has a floor more, and that rows lie further apart."""
    return many > 1.5 * few + 100


async def test_no_pair_of_conditions_costs_more_where_there_is_more(engine: AsyncEngine, larger: AsyncEngine) -> None:
    for pair in pairs():
        few, many = [await cost(one, pair, SHORT) for one in (engine, larger)]
        assert not grows(few, many), (pair, few, many)


async def test_a_walk_without_an_end_would_be_noticed(engine: AsyncEngine, larger: AsyncEngine) -> None:
    endless = Stretch(rows=1_000_000, looked_up=1_000_000)
    found = [grows(*[await cost(one, pair, endless) for one in (engine, larger)]) for pair in pairs()]
    assert sum(found) >= 5


async def cost(engine: AsyncEngine, one: Filter, stretch: Stretch) -> int:
    """The blocks that a page looks at, in tables and indexes."""
    async with counting(engine) as connection:
        await lists.page(connection, one, None, limit=FEW, stretch=stretch)
        return await blocks_read(connection)


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
    async with counting(engine) as connection:
        await lists.page(connection, wanted(**fields), None, limit=LIMIT)
        assert await gone_through(connection) == set()
        # The newest of each lane; of two conditions, which holds for fewer; the newest attempts, for words.
        assert await blocks_read(connection) < MOST_BLOCKS


@asynccontextmanager
async def counting(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection that counts what is read from here on: before it has handed over what it counted until now."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
        await connection.rollback()
        yield connection


async def gone_through(connection: AsyncConnection) -> set[str]:
    """The large tables that were read from end to end."""
    scans = "SELECT relname FROM pg_stat_xact_user_tables WHERE seq_scan > 0 AND relname = ANY(:large)"
    return {*await connection.scalars(text(scans), {"large": LARGE})}


async def blocks_read(connection: AsyncConnection) -> int:
    """How many blocks of tables and indexes were looked at, wherever they lay."""
    blocks = (
        "SELECT sum(pg_stat_get_xact_blocks_fetched(oid)) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    )
    return int(await connection.scalar(text(blocks)) or 0)


async def test_what_went_through_all_would_be_noticed(engine: AsyncEngine) -> None:
    async with counting(engine) as connection:
        await connection.execute(text("SELECT count(*) FROM dispositions WHERE comments = 'none'"))
        assert await gone_through(connection) == {"dispositions"}
        assert await blocks_read(connection) > 450


async def test_lookups_go_with_their_dispositions(crowded: str) -> None:
    with psycopg.connect(crowded) as connection:
        gone = "DELETE FROM dispositions WHERE id IN (SELECT id FROM dispositions WHERE state = 'delivered' LIMIT 100)"
        connection.execute(gone)
        left = "SELECT (SELECT count(*) FROM lookups), (SELECT count(*) FROM dispositions)"
        assert connection.execute(left).fetchone() == (NUMBER - 100, NUMBER - 100)
        connection.rollback()
