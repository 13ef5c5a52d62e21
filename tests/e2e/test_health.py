"""``/health`` and ``/metrics`` of an API that starts alone, before there are tables, and gets company step by step."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from cryptography.fernet import Fernet

from app.embedded.throwaway import ThrowawayServers
from tests.installation import Wrapup, until


@pytest.fixture
def empty_database(servers: ThrowawayServers) -> Iterator[str]:
    """The name of a database that nobody has migrated."""
    name = f"empty_{os.getpid()}"
    administer(servers, f"CREATE DATABASE {name}")
    yield name
    administer(servers, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def administer(servers: ThrowawayServers, statement: str) -> None:
    """Runs a statement about databases."""
    with psycopg.connect(servers.database_url.replace("/wrapup?", "/postgres?"), autocommit=True) as connection:
        connection.execute(statement)


def figure(metrics: httpx.Response, name: str) -> float:
    """One of the metrics."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", metrics.text, re.MULTILINE)
    assert found is not None, metrics.text
    return float(found[1])


async def test_ready_names_what_is_missing_until_nothing_is(
    wrapup: Wrapup, servers: ThrowawayServers, empty_database: str
) -> None:
    wrapup.variables |= {
        "WRAPUP_DATABASE_URL": servers.database_url.replace("/wrapup?", f"/{empty_database}?"),
        "WRAPUP_BROKER_URL": servers.broker_url,
        "WRAPUP_SECRET_KEYS": Fernet.generate_key().decode(),
    }
    api = wrapup.start("api", "--port=0")
    port = (await api.says('"port": ')).partition(",")[0]
    await api.says("Application startup complete")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:

        async def ready() -> tuple[int, dict[str, Any]]:
            reply = await http.get("/health/ready")
            return reply.status_code, reply.json()["checks"]

        async def delivered_by() -> str:
            status, checks = await ready()
            return str(checks["delivery"]["detail"]) if status == 200 else ""

        async def worker_takes_wakeups() -> bool:
            return await delivered_by() == "a worker took a wake-up recently"

        async def two_children_are_seen() -> bool:
            return figure(await http.get("/metrics"), 'wrapup_processes{kind="worker"}') == 2

        status, checks = await ready()
        assert status == 503
        assert checks["database"]["ok"]
        assert not checks["migrations"]["ok"]
        assert "run `wrapup migrate`" in checks["migrations"]["detail"]

        assert (await wrapup("migrate")).status == 0
        status, checks = await ready()
        assert status == 503
        assert checks["migrations"]["ok"]
        assert not checks["delivery"]["ok"]
        assert "start `wrapup worker` and `wrapup scheduler`" in checks["delivery"]["detail"]
        assert figure(await http.get("/metrics"), 'wrapup_processes{kind="worker"}') == 0

        wrapup.start("scheduler")
        in_their_place = "no worker takes wake-ups; the scheduler delivers in their place, 0.0 attempts a second"
        assert await until(delivered_by) == in_their_place

        wrapup.start("worker", "--processes=2")
        await until(worker_takes_wakeups)
        await until(two_children_are_seen)
        metrics = await http.get("/metrics")
        assert metrics.headers["Content-Type"].startswith("text/plain")
        assert figure(metrics, 'wrapup_processes{kind="scheduler"}') == 1
        assert figure(metrics, 'wrapup_dispositions{state="queued"}') == 0
        assert figure(metrics, "wrapup_oldest_due_seconds") == 0
        assert figure(metrics, "wrapup_call_seconds_count") == 0

        administer(servers, f"DROP DATABASE {empty_database} WITH (FORCE)")
        status, checks = await ready()
        assert status == 503
        assert not checks["database"]["ok"]
        assert (await http.get("/health/live")).json() == {"status": "live"}
    assert await api.stop() == 0
