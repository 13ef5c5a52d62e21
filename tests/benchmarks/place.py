"""Where deliveries are measured: PostgreSQL and Valkey, Wrapup's schema and accounts, and what the accounts call."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import orjson
import psycopg
from cryptography.fernet import Fernet

from app.embedded.postgres import EmbeddedPostgres
from app.embedded.valkey import EmbeddedValkey
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.settings import Settings
from app.storage import schema
from app.wiring import open_services
from tests.benchmarks.programs import Program, parent_of


@dataclass(frozen=True)
class Place:
    """The servers, and the environment that tells programs where they are."""

    settings: Settings
    upstream_port: int

    @property
    def database_url(self) -> str:
        """PostgreSQL."""
        return self.settings.require_database_url()

    @property
    def env(self) -> Mapping[str, str]:
        """For Wrapup's programs, and for those of the others."""
        database, broker = self.database_url, self.settings.require_broker_url()
        return {
            "WRAPUP_DATABASE_URL": database,
            "WRAPUP_BROKER_URL": broker,
            "WRAPUP_SECRET_KEYS": ",".join(self.settings.require_secret_keys()),
            "BENCH_DATABASE_URL": database,
            "BENCH_BROKER_URL": broker,
        }

    def upstream(self, path: str) -> Any:
        """What the upstream answers to one of its own paths."""
        connection = HTTPConnection("127.0.0.1", self.upstream_port, timeout=10)
        connection.request("GET", path)
        try:
            return orjson.loads(connection.getresponse().read())
        finally:
            connection.close()

    def calls(self) -> int:
        """How many calls the upstream has had."""
        return int(self.upstream("/count"))

    def ask(self, sql: str) -> Any:
        """The one value that a query gives."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            row = connection.execute(sql.encode()).fetchone()
        assert row is not None
        return row[0]

    def postgres_pid(self) -> int:
        """The server process above all of its others."""
        with psycopg.connect(self.database_url) as connection:
            return parent_of(connection.info.backend_pid)


@contextmanager
def opened(*, accounts: int, durable: bool = True) -> Iterator[Place]:
    """A place of its own, with so many accounts, all at the upstream."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        postgres, valkey = EmbeddedPostgres(folder, durable=durable), EmbeddedValkey(folder, durable=durable)
        for server in (postgres, valkey):
            stack.callback(server.stop)
            server.start()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        upstream = Program("tests.benchmarks.upstream", "--port", str(port), env={})
        stack.callback(upstream.kill)
        secret = Fernet.generate_key().decode()
        settings = Settings(database_url=postgres.url, broker_url=valkey.url, secret_keys=secret)
        asyncio.run(_prepare(settings, f"http://127.0.0.1:{port}", accounts))
        yield Place(settings, port)


async def _prepare(settings: Settings, upstream: str, accounts: int) -> None:
    async with open_services(settings, name="bench") as services:
        await schema.upgrade(services.engine)
        for number in range(accounts):
            account = AccountSettings(api_key=Secret("bench"), base_url=upstream)
            await services.accounts.set(f"bench-{number}", account, actor="bench")
