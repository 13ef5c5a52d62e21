"""Real servers for the tests: one PostgreSQL and one Valkey for a run, a fresh database for each test."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis

from app.embedded.throwaway import ThrowawayServers, throwaway_servers
from app.settings import Settings
from app.storage import schema
from app.storage.engine import make_engine
from app.storage.tables import metadata
from app.wiring import Services, open_services

# Examples are judged by what comes out, not by how busy the machine is.
hypothesis.register_profile("wrapup", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.load_profile("wrapup")


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


class Databases:
    """Migrated databases without rows, for one test at a time. To empty one takes a tenth of making one."""

    def __init__(self, servers: ThrowawayServers, template: str) -> None:
        self._url = servers.database_url
        self._template = template
        self._clean: list[str] = []
        self._numbers = itertools.count()

    @contextmanager
    def lend(self) -> Iterator[str]:
        """The URL of one."""
        name = self._clean.pop() if self._clean else self._clone()
        shape = self._shape(name)
        yield self.url(name)
        # What a test has altered is not lent again.
        if self._shape(name) == shape:
            self._empty(name)
            self._clean.append(name)

    def url(self, name: str) -> str:
        """Where a database of that name is."""
        return self._url.replace("/wrapup?", f"/{name}?")

    def _clone(self) -> str:
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return name

    def _shape(self, name: str) -> object:
        """Differs when anything was made, altered or dropped."""
        with psycopg.connect(self.url(name)) as connection:
            return connection.execute(
                """SELECT (SELECT array[count(*), max(oid::bigint)] FROM pg_class),
                          (SELECT array[count(*), max(oid::bigint)] FROM pg_constraint),
                          (SELECT array[count(*), max(oid::bigint)] FROM pg_trigger),
                          (SELECT array[count(*), max(oid::bigint)] FROM pg_proc),
                          (SELECT count(*) FROM pg_attribute),
                          (SELECT array_agg(version_num) FROM alembic_version)"""
            ).fetchone()

    def _empty(self, name: str) -> None:
        with psycopg.connect(self.url(name)) as connection:
            # Whoever is still there is thrown out, as in DROP DATABASE … WITH (FORCE).
            connection.execute(
                """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()"""
            )
            connection.execute("SET session_replication_role = replica")  # no triggers, no foreign keys
            for table in metadata.tables:
                connection.execute(f"DELETE FROM {table}")
            connection.execute(
                """SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false) FROM pg_sequences"""
            )


@pytest.fixture(scope="session")
def databases(servers: ThrowawayServers, template: str) -> Databases:
    """The databases of this test process."""
    return Databases(servers, template)


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A migrated database of this test's own, without rows."""
    with databases.lend() as url:
        yield url


@pytest.fixture(scope="module")
def database_of_module(databases: Databases) -> Iterator[str]:
    """A migrated database for the tests of one module, which look at what was done once."""
    with databases.lend() as url:
        yield url


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
