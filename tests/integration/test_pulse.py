"""The pulse of the pages: one look for all who watch, and none for nobody."""

from __future__ import annotations

import asyncio

import pytest
from deliveries import ask, post, until
from sqlalchemy import event

from app.services.pulse import Pulse
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")


@pytest.fixture
def looks(services: Services) -> list[str]:
    """The statements that look."""
    seen: list[str] = []

    @event.listens_for(services.engine.sync_engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "count_deltas" in statement:
            seen.append(statement)

    return seen


async def test_who_watches_is_told_of_a_change_and_of_nothing_else(services: Services) -> None:
    pulse = Pulse(services.engine, every=0.01)
    async with pulse.watching():
        first = await pulse.after(None, 5)
        assert first is not None
        assert await pulse.after(first, 0.1) == first
        await post(services)
        assert await pulse.after(first, 5) != first


async def test_a_change_that_came_while_nobody_watched_is_told_to_who_comes_again(services: Services) -> None:
    pulse = Pulse(services.engine, every=0.01)
    async with pulse.watching():
        seen = await pulse.after(None, 5)
    await post(services)
    async with pulse.watching():
        assert await pulse.after(seen, 5) != seen


async def test_many_who_watch_cost_one_look_at_a_time_and_nobody_none(services: Services, looks: list[str]) -> None:
    pulse = Pulse(services.engine, every=0.05)
    ready, go_home = asyncio.Barrier(51), asyncio.Event()

    async def watch() -> None:
        async with pulse.watching():
            await pulse.after(None, 5)
            await ready.wait()
            await go_home.wait()

    watchers = [asyncio.create_task(watch()) for _ in range(50)]
    await ready.wait()
    assert len(looks) <= 2
    go_home.set()
    await asyncio.gather(*watchers)

    async def nobody_looks() -> bool:
        return all(getattr(task.get_coro(), "__qualname__", "") != "Pulse._look" for task in asyncio.all_tasks())

    await until(nobody_looks)


async def test_an_attempt_that_leaves_no_event_is_a_change_too(services: Services) -> None:
    await post(services)
    pulse = Pulse(services.engine, every=0.01)
    async with pulse.watching():
        seen = await pulse.after(None, 5)
        await ask(
            services,
            "INSERT INTO count_deltas (account_id, kind, key, n) SELECT id, 'attempt', 'no_reply', 1 FROM accounts",
        )
        assert await pulse.after(seen, 5) != seen


async def test_at_the_end_everybody_goes_home(services: Services) -> None:
    pulse = Pulse(services.engine, every=0.01)
    async with pulse.watching():
        seen = await pulse.after(None, 5)
        waiting = asyncio.create_task(pulse.after(seen, 60))
        await asyncio.sleep(0)
        pulse.ending = True
        async with asyncio.timeout(5):
            assert await waiting == seen
