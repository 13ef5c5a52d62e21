"""The health check that docker-compose.yml gives worker and scheduler, against a real database."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import uuid_utils.compat as uuids
import yaml
from sqlalchemy import text

from app.settings import Settings
from app.storage import processes
from app.storage.engine import make_engine
from app.wiring import process_name

SERVICES = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())["services"]


async def healthy(kind: str, settings: Settings) -> bool:
    """What the check of the service ``kind`` says, run as its container runs it."""
    _, _, *words = SERVICES[kind]["healthcheck"]["test"]
    env = os.environ | {"WRAPUP_DATABASE_URL": settings.require_database_url()}
    check = await asyncio.create_subprocess_exec(sys.executable, *words, env=env)
    return await check.wait() == 0


async def test_a_process_is_healthy_while_its_own_heart_beats(settings: Settings) -> None:
    engine = make_engine(settings.require_database_url(), name="test")
    assert not await healthy("worker", settings)

    async with engine.begin() as connection:
        name = process_name("worker")
        await processes.beat(connection, uuids.uuid7(), kind="worker", name=name, consumed=False)
    assert await healthy("worker", settings)
    assert not await healthy("scheduler", settings)

    async with engine.begin() as connection:  # its loop stands still
        await connection.execute(text("UPDATE processes SET seen_at = seen_at - interval '1 minute'"))
    assert not await healthy("worker", settings)
    await engine.dispose()


async def test_the_heartbeat_of_another_machine_is_not_its_own(settings: Settings) -> None:
    engine = make_engine(settings.require_database_url(), name="test")
    async with engine.begin() as connection:
        name = f"worker:not-{socket.gethostname()}:1"
        await processes.beat(connection, uuids.uuid7(), kind="worker", name=name, consumed=True)
    assert not await healthy("worker", settings)
    await engine.dispose()
