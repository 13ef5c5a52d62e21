"""A floor on a busy day: all of Wrapup with its stand-in for CloudAgent, and people in real browsers."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.installation import Up, Wrapup, client, until

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"  # git-ignored; for a person to look at

CALL = {"did": "918012345678", "agent_id": "asha.k", "disposition": "Sale"}
LONG_AGENT = "unknown-" + "x" * 60  # no place where a line could break
WRONG_AGENT = "unknown-x7"  # the stand-in knows no agent whose name begins so


def chromium() -> str:
    """Where Chromium is. Without one the tests are not run, and say so; in CI that is a failure."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found:
        return found
    said = "not run: there is no Chromium. Install it (apt-get install chromium), or set CHROMIUM to its path"
    if os.environ.get("CI"):
        pytest.fail(said)
    pytest.skip(said)


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A browser that asks nobody on the internet for anything."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium(),
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"],
        )
        try:
            yield browser
        finally:
            await browser.close()


class Floor:
    """What runs, and the ways to it."""

    def __init__(self, wrapup: Wrapup, up: Up) -> None:
        self.wrapup = wrapup
        self.up = up
        self._made: set[str] = set()
        self._calls = 0

    @property
    def url(self) -> str:
        return self.up.url

    async def link(self, role: str) -> str:
        """A sign-in link for a user of this role."""
        if role not in self._made:
            self._made.add(role)
            made = await self.wrapup("users", "create", role, "--role", role)
        else:
            made = await self.wrapup("users", "link", role)
        assert made.status == 0, made.err
        return made.out.strip()

    async def post(self, count: int, **changes: str) -> list[str]:
        """Dispositions of as many new calls; gives their ids."""
        items = [{"account": "sandbox", "ucid": self._ucid(), **CALL, **changes} for _ in range(count)]
        async with client(self.url, (self.up.data_dir / "sandbox.key").read_text().strip()) as http:
            answer = await http.post("/v1/dispositions/batch", json={"dispositions": items})
            assert answer.status_code == 200, answer.text
            return [result["id"] for result in answer.json()["results"]]

    async def until(self, disposition_id: str, state: str) -> dict[str, Any]:
        """The disposition, once it is in this state."""
        async with client(self.url, (self.up.data_dir / "sandbox.key").read_text().strip()) as http:

            async def there() -> dict[str, Any] | None:
                one = dict((await http.get(f"/v1/dispositions/{disposition_id}")).json())
                return one if one["state"] == state else None

            found = await until(there)
        assert found
        return found

    def _ucid(self) -> str:
        self._calls += 1
        return str(1_700_000_000_000_000 + self._calls)


class Person:
    """Somebody who is signed in, in a browser of their own. What goes wrong in it fails the test."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.troubles: list[str] = []
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", lambda said: self.troubles.append(said.text) if _is_trouble(said.type, said.text) else None)


def _is_trouble(kind: str, text: str) -> bool:
    # A form that is refused answers 4xx on purpose; a policy that is broken is told as an error, too.
    return kind == "error" and "status of 4" not in text


@asynccontextmanager
async def signed_in(browser: Browser, floor: Floor, role: str = "admin", **options: Any) -> AsyncIterator[Person]:
    """Somebody with this role. ``options`` are those of the browser: ``java_script_enabled``, ``viewport``, …"""
    context = await browser.new_context(base_url=floor.url, **options)
    context.set_default_timeout(15_000)
    person = Person(context, await context.new_page())
    await person.page.goto(await floor.link(role))
    assert await person.page.title() == "Overview · Wrapup"
    yield person
    await context.close()
    assert person.troubles == []


async def schedule(floor: Floor) -> None:
    """A ready-made schedule with a run, if it is not there yet."""
    if "nightly" not in (await floor.wrapup("schedules", "list")).out:
        for command in (("create", "nightly", "--ready-made", "cloudagent-nightly"), ("run", "nightly")):
            done = await floor.wrapup("schedules", *command)
            assert done.status == 0, done.err


async def pages_of(floor: Floor) -> dict[str, str]:
    """An address of each kind of page, by its name."""
    [one, *_] = await floor.post(3, agent_id=WRONG_AGENT, comments="wants the brochure")
    failed = await floor.until(one, "failed")
    [retried] = await floor.post(1, disposition="retry-forever")
    [long] = await floor.post(1, agent_id=LONG_AGENT, disposition="Sale " * 12, reference="R" * 90)
    await floor.until(long, "failed")
    await schedule(floor)
    async with client(floor.url, (floor.up.data_dir / "sandbox.key").read_text().strip()) as http:
        failures = (await http.get("/v1/failures")).json()["items"]
    [of_long] = [failure["id"] for failure in failures if failure["value"] == LONG_AGENT]
    return {
        "overview": "/",
        "failures": "/failures",
        "failure": f"/failures/{failures[0]['id']}",
        "failure-long": f"/failures/{of_long}",
        "dispositions": "/dispositions",
        "narrowed": f"/dispositions?cause=expired&cause=invalid_agent&failure={of_long}",
        "filtered": "/dispositions?state=failed&agent_id=unknown-x7",
        "disposition-failed": f"/dispositions/{one}",
        "disposition-long": f"/dispositions/{long}",
        "disposition-retrying": f"/dispositions/{retried}",
        "resend": f"/dispositions/{one}/resend",
        "replays": "/replays",
        "schedules": "/schedules?ready_made=cloudagent-nightly",
        "schedule": "/schedules/nightly",
        "call": f"/calls/sandbox/{failed['ucid']}",
        "accounts": "/accounts",
        "account": "/accounts/sandbox",
        "audit": "/audit",
        "users": "/users",
        "me": "/me",
        "refused": "/dispositions?state=nonsense",
        "nothing-here": "/nothing/here",
        "not-there": "/dispositions/01937c1e-7a80-7c3e-9f2b-6d1c5a4e8b90",
    }
