"""Real servers for the tests: one PostgreSQL and one Valkey for a run, a fresh database for each test."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from cryptography.fernet import Fernet

from app.embedded.throwaway import ThrowawayServers, throwaway_servers
from app.settings import Settings
from app.storage import schema
from app.storage.engine import make_engine
from app.wiring import Services, open_services

_numbers = itertools.count()


@pytest.fixture(scope="session")
def servers() -> Iterator[ThrowawayServers]:
    """PostgreSQL and Valkey, running for this test process."""
    with throwaway_servers() as running:
        yield running


@pytest.fixture(scope="session")
def template(servers: ThrowawayServers) -> str:
    """The name of a migrated database to clone."""

    async def migrate() -> None:
        engine = make_engine(servers.database_url, name="template")
        await schema.upgrade(engine)
        await engine.dispose()

    asyncio.run(migrate())
    return "wrapup"


@pytest.fixture
def database_url(servers: ThrowawayServers, template: str) -> Iterator[str]:
    """A fresh migrated database of this test's own."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    admin = servers.database_url.replace("/wrapup?", "/postgres?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield servers.database_url.replace("/wrapup?", f"/{name}?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def broker_url(servers: ThrowawayServers) -> str:
    """The Valkey of this test process."""
    return servers.broker_url


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    """Settings for this test's database; keys made for it."""
    return Settings(database_url=database_url, broker_url=broker_url, secret_keys=Fernet.generate_key().decode())


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    """The services on this test's database."""
    async with open_services(settings, name="test") as opened:
        yield opened
