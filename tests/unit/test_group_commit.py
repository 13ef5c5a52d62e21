"""Group commit: one write for what comes together, each item with its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from app.services.group_commit import GroupCommit, Overloaded


class Database:
    """Writes groups when it is let; the results are the items, doubled. It refuses a group that holds poison."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.stored: list[int] = []
        self.poison: set[int] = set()
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(list(items))
        await self.open.wait()
        if bad := self.poison & set(items):
            raise ValueError(f"poison {min(bad)}")
        self.stored.extend(items)
        return [item * 2 for item in items]


async def turn() -> None:
    """Lets everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


def submit_all(commit: GroupCommit[int, int], items: Sequence[int]) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(commit.submit(item)) for item in items]


async def test_a_lone_item_is_written_at_once() -> None:
    database = Database()
    assert await GroupCommit(database.write).submit(21) == 42
    assert database.groups == [[21]]


async def test_what_comes_during_a_write_shares_the_next_one() -> None:
    database = Database()
    database.open.clear()
    commit = GroupCommit(database.write, writers=1)
    tasks = submit_all(commit, [1])
    await turn()
    tasks += submit_all(commit, [2, 3, 4])
    await turn()
    assert database.groups == [[1]]
    database.open.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    assert database.groups == [[1], [2, 3, 4]]


async def test_two_groups_are_under_way_at_once_and_no_third() -> None:
    database = Database()
    database.open.clear()
    commit = GroupCommit(database.write, writers=2)
    tasks = []
    for item in (1, 2, 3, 4):
        tasks += submit_all(commit, [item])
        await turn()
    assert database.groups == [[1], [2]]
    database.open.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    assert sorted(database.stored) == [1, 2, 3, 4]


@pytest.mark.parametrize("writers", [1, 2, 3])
async def test_who_comes_again_the_moment_it_is_answered_is_written_too(writers: int) -> None:
    database = Database()
    commit = GroupCommit(database.write, writers=writers)

    async def come_again(first: int) -> list[int]:
        return [await commit.submit(item) for item in range(first, first + 20)]

    async with asyncio.timeout(5):
        await asyncio.gather(*(come_again(100 * number) for number in range(3)))
    assert len(database.stored) == 60


async def test_two_of_one_key_are_never_written_at_the_same_time_and_keep_their_order() -> None:
    database = Database()
    database.open.clear()
    commit = GroupCommit(database.write, key=lambda item: item % 10, largest=3)
    tasks = []
    for items in ([1], [11, 2, 21, 3, 31]):
        tasks += submit_all(commit, items)
        await turn()
    assert database.groups == [[1], [2]]  # of the first three, two share a key with what is being written
    database.open.set()
    assert await asyncio.gather(*tasks) == [2, 22, 4, 42, 6, 62]
    assert [item for item in database.stored if item % 10 == 1] == [1, 11, 21, 31]


async def test_a_group_has_a_largest_size_and_keeps_the_order() -> None:
    database = Database()
    commit = GroupCommit(database.write, largest=3, writers=1)
    assert await asyncio.gather(*submit_all(commit, range(8))) == [item * 2 for item in range(8)]
    assert database.groups == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_an_error_among_the_results_is_its_submitters_alone() -> None:
    async def write(items: Sequence[int]) -> Sequence[int | Exception]:
        return [KeyError(item) if item == 2 else item for item in items]

    commit = GroupCommit(write)
    assert [repr(one) for one in await asyncio.gather(*submit_all(commit, [1, 2, 3]), return_exceptions=True)] == [
        "1",
        "KeyError(2)",
        "3",
    ]


@pytest.mark.parametrize("poison", [{0}, {57}, {99}, {3, 4}, {0, 50, 99}])
async def test_poison_fails_alone_and_its_neighbours_are_stored(poison: set[int]) -> None:
    database = Database()
    database.poison = poison
    results = await asyncio.gather(*submit_all(GroupCommit(database.write), range(100)), return_exceptions=True)
    failed = {item for item, result in enumerate(results) if isinstance(result, ValueError)}
    assert failed == poison
    assert sorted(database.stored) == [item for item in range(100) if item not in poison]
    assert len(database.groups) < 16 * len(poison)  # it is searched for in halves


async def test_a_lone_poison_is_tried_once() -> None:
    database = Database()
    database.poison = {1}
    with pytest.raises(ValueError, match="poison 1"):
        await GroupCommit(database.write).submit(1)
    assert database.groups == [[1]]


async def test_after_a_failure_the_next_group_is_written() -> None:
    database = Database()
    database.poison = {1}
    commit = GroupCommit(database.write)
    with pytest.raises(ValueError, match="poison"):
        await commit.submit(1)
    assert await commit.submit(2) == 4


async def test_a_write_that_miscounts_leaves_nobody_waiting() -> None:
    async def write(items: Sequence[int]) -> Sequence[int | Exception]:
        return [0]

    results = await asyncio.gather(*submit_all(GroupCommit(write), [1, 2]), return_exceptions=True)
    assert [str(result) for result in results] == ["1 results for 2 items"] * 2


async def test_more_than_may_wait_is_turned_away_and_the_rest_is_written() -> None:
    database = Database()
    database.open.clear()
    commit = GroupCommit(database.write, waiting=3, writers=1)
    tasks = submit_all(commit, [0])
    await turn()
    tasks += submit_all(commit, [1, 2, 3])
    await turn()
    with pytest.raises(Overloaded):
        await commit.submit(4)
    database.open.set()
    assert await asyncio.gather(*tasks) == [0, 2, 4, 6]
    assert await commit.submit(5) == 10


async def test_a_submitter_that_goes_away_takes_nothing_with_it() -> None:
    database = Database()
    database.open.clear()
    commit = GroupCommit(database.write, writers=1)
    under_way, waiting, staying = submit_all(commit, [1, 2, 3])
    await turn()
    under_way.cancel()
    waiting.cancel()
    await turn()
    database.open.set()
    assert await staying == 6
    assert database.stored == [1, 2, 3]


async def test_draining_waits_for_all_that_was_submitted() -> None:
    database = Database()
    database.open.clear()
    commit = GroupCommit(database.write, largest=2)
    tasks = submit_all(commit, range(7))
    await turn()
    draining = asyncio.create_task(commit.drain())
    await turn()
    assert not draining.done()
    database.open.set()
    await draining
    assert sorted(database.stored) == list(range(7))
    await asyncio.gather(*tasks)
    await commit.drain()  # nothing to wait for
