"""The broker is a wake-up, the database is the truth: without it, everything arrives, only later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from redis import Redis

from app.broker import QUEUE
from app.sandbox import Sandbox
from app.services.accounts import AccountSettings
from app.wiring import Services
from tests.faults.servers import Broker, stopped
from tests.installation import CALL, Wrapup, client, ucids, until


class Tree:
    """API, worker and scheduler, as three processes."""

    def __init__(self, wrapup: Wrapup) -> None:
        self.api = wrapup.start("api", "--port=0")
        self.worker = wrapup.start("worker")
        self.scheduler = wrapup.start("scheduler")
        self.http: httpx.AsyncClient

    async def ready(self, key: str) -> None:
        port = await self.api.says('"port": ')
        self.http = client("http://127.0.0.1:" + port.partition(",")[0], key)
        await until(self.worker_takes_wakeups)

    async def delivery(self) -> str:
        """What the health check says about who delivers."""
        try:
            reply = await self.http.get("/health/ready")
        except httpx.ConnectError:  # it does not listen yet
            return ""
        return str(reply.json()["checks"]["delivery"]["detail"])

    async def worker_takes_wakeups(self) -> bool:
        return await self.delivery() == "a worker took a wake-up recently"

    async def scheduler_delivers(self) -> float:
        """How many attempts a second, as the health check says; 0 as long as workers take wake-ups."""
        _, says_so, rate = (await self.delivery()).partition(
            "no worker takes wake-ups; the scheduler delivers in their place, "
        )
        return float(rate.removesuffix(" attempts a second")) if says_so else 0.0

    async def post(self, ucid: str) -> str:
        """Posts a disposition and returns its id, which has to come within a second."""
        began = time.monotonic()
        reply = await self.http.post("/v1/dispositions", json={"account": "acme", "ucid": ucid, **CALL})
        assert reply.status_code == 202, reply.text
        assert time.monotonic() - began < 1
        return str(reply.json()["id"])

    async def delivered_by(self, disposition_id: str) -> str:
        """Which process delivered it, once that has happened."""

        async def actor() -> str | None:
            found = (await self.http.get(f"/v1/dispositions/{disposition_id}")).json()
            return next((event["actor"] for event in found["events"] if event["to"] == "delivered"), None)

        return str(await until(actor))

    async def goes_through(self, kind: str, ucid: str) -> bool:
        """Whether a new disposition is delivered by such a process."""
        return (await self.delivered_by(await self.post(ucid))).startswith(f"{kind}:")


@pytest.fixture
async def tree(wrapup: Wrapup, cloudagent: Sandbox, key: str) -> AsyncIterator[Tree]:
    """The tree, at work."""
    running = Tree(wrapup)
    await running.ready(key)
    yield running
    await running.http.aclose()


async def test_200_waiting_dispositions_arrive_though_the_broker_forgets_them(
    tree: Tree, broker: Broker, cloudagent: Sandbox
) -> None:
    valkey = Redis(unix_socket_path=broker.url.partition("://")[2].partition("?")[0])
    cloudagent.misbehave(latency="20ms-200ms")
    with stopped(tree.worker.pid):  # so that the wake-ups wait, too
        ids = [await tree.post(ucid) for ucid in ucids(200)]
        await until(lambda: valkey.llen(QUEUE))
        valkey.flushall()
        assert valkey.dbsize() == 0
    while len(cloudagent.log) < 200:  # and whenever else it likes
        valkey.flushall()
        await asyncio.sleep(0.05)
    await asyncio.gather(*map(tree.delivered_by, ids))
    assert len({arrival.ucid for arrival in cloudagent.log}) == len(cloudagent.log) == 200


async def test_all_children_of_a_worker_share_a_backlog(
    tree: Tree, wrapup: Wrapup, services: Services, cloudagent: Sandbox
) -> None:
    await services.accounts.set("acme", AccountSettings(max_in_flight=1000), actor="test")
    with stopped(tree.worker.pid), stopped(tree.scheduler.pid):
        ids = [await tree.post(ucid) for ucid in ucids(800)]
    cloudagent.misbehave(latency="1s")  # one child alone takes 160 calls a second
    actors = await asyncio.gather(*map(tree.delivered_by, ids[::8]))
    assert len({actor for actor in actors if actor.startswith("worker:")}) > 1


async def test_without_the_broker_the_scheduler_delivers_until_it_is_back(
    tree: Tree, broker: Broker, cloudagent: Sandbox
) -> None:
    calls = ucids(1000)
    broker.stop()  # with SIGKILL
    delays = []

    async def nobody_takes_wakeups() -> bool:
        began = time.monotonic()
        actor = await tree.delivered_by(await tree.post(next(calls)))
        if actor.startswith("scheduler:"):  # a wake-up may still have been under way
            delays.append(time.monotonic() - began)
        return await tree.scheduler_delivers() > 0

    await until(nobody_takes_wakeups)
    print("the scheduler delivered after", *(f"{delay:.1f} s" for delay in delays))
    assert delays[0] < 5  # 1 to 2 on an idle machine
    metrics = (await tree.http.get("/metrics")).text
    assert float(metrics.partition('wrapup_attempts_per_second{kind="scheduler"} ')[2].split()[0]) > 0
    await tree.scheduler.says('"attempts_per_second": ')
    broker.start()
    began = time.monotonic()
    await until(tree.worker_takes_wakeups)
    print(f"a worker took a wake-up {time.monotonic() - began:.1f} s after the broker was back")
    await until(lambda: tree.goes_through("worker", next(calls)))


async def test_a_frozen_broker_slows_nobody_down_who_posts(tree: Tree, broker: Broker, cloudagent: Sandbox) -> None:
    calls = ucids(1000)
    with stopped(broker.pid):
        ids = await asyncio.gather(*(tree.post(next(calls)) for _ in range(20)))
        ids += [await tree.post(next(calls)) for _ in range(20)]
        await asyncio.gather(*map(tree.delivered_by, ids))
        await until(lambda: tree.goes_through("scheduler", next(calls)))
    await until(lambda: tree.goes_through("worker", next(calls)))
