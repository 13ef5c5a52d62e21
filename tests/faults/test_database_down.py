"""PostgreSQL dies under load, and its supervisor starts it again. Who was told 202 was not told too much."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.sandbox import Sandbox
from tests.installation import CALL, Wrapup, client, ucids, until

API_KEY = "KK0123456789abcdef"


@pytest.fixture
def wrapup(tmp_path: Path) -> Iterator[Wrapup]:
    """The command ``wrapup`` with servers of its own."""
    command = Wrapup(tmp_path / "up", {"WRAPUP_RETRY_DELAYS": "100ms", "WRAPUP_CALL_DEADLINE_SECONDS": "2"})
    yield command
    command.end()


async def test_what_was_answered_with_202_is_not_lost_when_the_database_is_killed(wrapup: Wrapup) -> None:
    up = wrapup.up("--no-sandbox")
    url = await up.ready()
    async with Sandbox(api_key=API_KEY, customer="acme", latency="5ms-50ms") as cloudagent:
        key = await up.open_account("acme", API_KEY, cloudagent.url)
        replies: list[httpx.Response] = []
        async with client(url, key) as http:

            async def post(calls: Iterator[str]) -> None:
                for ucid in calls:
                    replies.append(await http.post("/v1/dispositions", json={"ucid": ucid, **CALL}))
                    await asyncio.sleep(0.01)

            calls = ucids(10**9)
            load = [asyncio.create_task(post(calls)) for _ in range(8)]
            for _ in range(2):
                stored = len(_stored(replies))
                await until(lambda: len(_stored(replies)) > stored + 100)  # noqa: B023  # awaited within the loop
                up.send_signal("postgres", signal.SIGKILL)
                await until(lambda: any(reply.status_code == 503 for reply in replies[stored:]))  # noqa: B023
                live, ready = await asyncio.gather(http.get("/health/live"), http.get("/health/ready"))
                assert live.status_code == 200
                if ready.status_code == 503:  # it may be back by now
                    assert not ready.json()["checks"]["database"]["ok"]
            stored = len(_stored(replies))
            await until(lambda: len(_stored(replies)) > stored + 100)
            for task in load:
                task.cancel()
            await asyncio.wait(load)

            print(Counter(reply.status_code for reply in replies))
            assert {reply.status_code for reply in replies} == {202, 503}
            for reply in replies:
                if reply.status_code == 503:
                    assert reply.headers["Content-Type"] == "application/problem+json"
                    assert reply.headers["Retry-After"]
                    problem = reply.json()
                    assert problem["type"] in (
                        "urn:wrapup:problem:not-stored",
                        "urn:wrapup:problem:database-unavailable",
                    )
                    assert problem["status"] == 503

            async def settled() -> bool:
                states = (await http.get("/v1/stats")).json()["states"]
                return not any(states[state] for state in ("queued", "sending", "retrying", "held"))

            await until(settled, 60)

    exported = {one["id"]: one for one in (await wrapup("audit", "export")).lines}
    for disposition_id in _stored(replies):
        assert exported[disposition_id]["state"] == "delivered"
    made_by = Counter(attempt["id"] for one in exported.values() for attempt in one["attempts"])
    assert set(made_by.values()) == {1}
    arrived = [arrival.request_id for arrival in cloudagent.log]
    assert len(set(arrived)) == len(arrived)
    assert set(arrived) <= set(made_by)


def _stored(replies: list[httpx.Response]) -> list[str]:
    """The ids of those that were answered with 202."""
    return [reply.json()["id"] for reply in replies if reply.status_code == 202]
