"""The API on a real port with a database of its own, and those who call it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx
import psycopg

from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.settings import Settings
from app.wiring import Services
from tests.serving import serving

CANARY = "KKcanary0123456789abcdef"
"""The apiKey of every account here."""

SALE = {"account": "acme", "ucid": "1234567890123456", "did": "918012345678", "agent_id": "a17", "disposition": "Sale"}


class Api:
    """The API and its database, from outside."""

    def __init__(self, services: Services, settings: Settings, stack: AsyncExitStack) -> None:
        self.services = services
        self.settings = settings
        self.url = ""
        self._stack = stack
        self._keys = 0

    async def serve(self, **changes: Any) -> str:
        """Runs the API, with these settings changed; its URL."""
        self.url = await self._stack.enter_async_context(serving(self.settings.model_copy(update=changes)))
        return self.url

    async def key(self, *scopes: str, accounts: Sequence[str] = (), name: str = "", **more: Any) -> str:
        """A new client's key."""
        self._keys += 1
        return await self.services.keys.create(name or f"client-{self._keys}", scopes, accounts, **more)

    async def client(self, *scopes: str, accounts: Sequence[str] = (), name: str = "") -> httpx.AsyncClient:
        """A new client with these scopes."""
        return await self.with_key(await self.key(*scopes, accounts=accounts, name=name))

    async def with_key(self, key: str | None) -> httpx.AsyncClient:
        """A client with this key, or with none."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        client = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20, trust_env=False)
        return await self._stack.enter_async_context(client)

    async def account(self, customer: str) -> None:
        """A new account."""
        await self.services.accounts.set(customer, AccountSettings(api_key=Secret(CANARY)), actor="test")

    def count(self, table: str) -> int:
        """The number of rows."""
        row = self.sql(f"SELECT count(*) FROM {table}")[0]
        return int(row[0])

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement gives, past all of our code."""
        with psycopg.connect(self.settings.require_database_url(), autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
