"""The pages on a real port with a database of their own, and those who look at them, without a script."""

from __future__ import annotations

import html
import re
from contextlib import AsyncExitStack
from typing import Any

import httpx
import psycopg
from deliveries import fields

from app.services.keys import OPERATOR
from app.services.users import Role
from app.settings import Settings
from app.web.dashboard.visitors import COOKIE
from app.wiring import Services
from tests.serving import serving

API_KEY = "KKcanary0123456789"
"""The apiKey of every account here."""


class Visitor:
    """A browser without a script: keeps its cookie, follows no redirect by itself, sends forms as a page has them."""

    def __init__(self, http: httpx.AsyncClient, token: str | None = None) -> None:
        self._http = http
        self.token = token

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Opens an address."""
        return await self._ask("GET", path, headers=headers)

    async def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        """Sends a form with these fields, and nothing else."""
        return await self._ask("POST", path, data=fields or {}, headers=headers)

    async def send(self, path: str, **fields: str) -> httpx.Response:
        """Sends a form as a page of ours has it: with its token."""
        return await self.post(path, {"form_token": await self.form_token(), **fields})

    async def form_token(self) -> str:
        """The token that the forms of this visitor's pages carry."""
        found = re.search(r'name="form_token" value="([0-9a-f]+)"', (await self.get("/me")).text)
        return found[1] if found else ""

    async def _ask(self, method: str, path: str, *, headers: dict[str, str], **more: Any) -> httpx.Response:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None:
            headers.setdefault("cookie", f"{COOKIE}={self.token}")
        request = self._http.build_request(method, path, headers=headers, **more)
        answer = await self._http.send(request, stream=True)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            await answer.aclose()  # it would go on
        else:
            await answer.aread()
        for line in answer.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            if name == COOKIE:
                self.token = rest.partition(";")[0].strip('"') or None
        return answer


class Pages:
    """The pages and their database, from outside."""

    def __init__(self, services: Services, settings: Settings, stack: AsyncExitStack) -> None:
        self.services = services
        self.settings = settings
        self._stack = stack
        self._http: httpx.AsyncClient

    async def serve(self, **changes: Any) -> None:
        """Runs them, with these settings changed."""
        url = await self._stack.enter_async_context(serving(self.settings.model_copy(update=changes)))
        self._http = await self._stack.enter_async_context(
            httpx.AsyncClient(base_url=url, timeout=20, trust_env=False, follow_redirects=False)
        )

    def nobody(self) -> Visitor:
        """A visitor who is not signed in."""
        return Visitor(self._http)

    async def user(self, role: Role, name: str = "") -> Visitor:
        """A visitor who has signed in, as a new user of this role if there is none yet."""
        name = name or role.value
        if all(user.name != name for user in await self.services.users.all()):
            await self.services.users.create(name, role)
        link = await self.services.users.link(name)
        return Visitor(self._http, await self.services.sessions.sign_in_by_link(link, address="127.0.0.1"))

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement gives, past all of our code."""
        with psycopg.connect(self.settings.require_database_url(), autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


async def fail(pages: Pages, call: str, cause: str = "invalid_agent", **changes: object) -> str:
    """The id of a disposition that has failed, written by hand as in an incident."""
    receipt = await pages.services.intake.accept(fields(call, account="acme") | changes, OPERATOR)
    pages.sql(
        "UPDATE dispositions SET state = 'failed', cause = %s, outcome = %s, finished_at = now() WHERE id = %s",
        cause,
        cause,
        receipt.id,
    )
    return str(receipt.id)


def text_of(answer: httpx.Response) -> str:
    """What a page says: its text without tags, with single spaces."""
    bare = re.sub(r"<[^>]*>", " ", re.sub(r"(?s)<(script|style).*?</\1>", " ", answer.text))
    return " ".join(html.unescape(bare).split())
