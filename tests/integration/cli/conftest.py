"""The command as its users run it: a process of its own, in a folder of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import psycopg
import pytest
from forked import forked

from app.embedded.throwaway import ThrowawayServers
from app.sandbox import Sandbox
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.keys import OPERATOR
from app.settings import Settings
from app.wiring import Services, open_deliverer

API_KEY = "KKcanary0123456789"

Submit = Callable[..., Awaitable[str]]
Until = Callable[[str, str], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document that it printed."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON documents that it printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Wrapup:
    """Runs ``wrapup`` with nothing in its environment but what is given."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.variables = dict(variables)
        self.started: list[Process] = []

    async def __call__(self, *words: str, stdin: str = "", **variables: str) -> Ran:
        """Runs a command to its end."""
        with TemporaryDirectory() as name:
            streams = Path(name)
            (streams / "stdin").write_text(stdin)
            process = forked(words, self.folder, self.environment(**variables), streams)
            await asyncio.to_thread(process.join, 60)
            assert process.exitcode is not None, f"{words} does not end"
            return Ran(process.exitcode, (streams / "stdout").read_text(), (streams / "stderr").read_text())

    async def start(self, *words: str, stdout: int = PIPE, stderr: int = PIPE, **variables: str) -> Process:
        """Starts a command that goes on; what still runs at the end of the test is killed."""
        process = await asyncio.create_subprocess_exec(
            *self.argv(*words),
            cwd=self.folder,
            env=self.environment(**variables),
            stdin=PIPE,
            stdout=stdout,
            stderr=stderr,
        )
        self.started.append(process)
        return process

    def argv(self, *words: str) -> tuple[str, ...]:
        return (sys.executable, "-P", "-m", "app.cli", *words)

    def environment(self, **variables: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"]} | self.variables | variables

    async def end(self) -> None:
        for process in self.started:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@pytest.fixture
def variables(settings: Settings) -> dict[str, str]:
    """The environment of a process that works on this test's database."""
    return {
        "WRAPUP_DATABASE_URL": settings.require_database_url(),
        "WRAPUP_BROKER_URL": settings.require_broker_url(),
        "WRAPUP_SECRET_KEYS": ",".join(settings.require_secret_keys()),
    }


@pytest.fixture
async def wrapup(tmp_path: Path, variables: dict[str, str]) -> AsyncIterator[Wrapup]:
    """The command on this test's database."""
    command = Wrapup(tmp_path, variables)
    yield command
    await command.end()


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[Wrapup]:
    """The command with no setting at all."""
    command = Wrapup(tmp_path, {})
    yield command
    await command.end()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """CloudAgent."""
    async with Sandbox(api_key=API_KEY, customer="acme") as running:
        yield running


@pytest.fixture
async def account(services: Services, sandbox: Sandbox) -> str:
    """An account of that CloudAgent."""
    await services.accounts.set("acme", AccountSettings(Secret(API_KEY), sandbox.url), actor="test")
    return "acme"


@pytest.fixture
def submit(services: Services, account: str) -> Submit:
    """Stores a disposition of that account; gives its id."""

    async def submit(**fields: object) -> str:
        given = {"ucid": "1234567890123456", "did": "918012345678", "agent_id": "a17", "disposition": "Sale"}
        receipt = await services.intake.accept(given | {"account": account} | fields, OPERATOR)
        return str(receipt.id)

    return submit


@pytest.fixture
def until(services: Services) -> Until:
    """Waits until a disposition is in a state; gives it as it is then."""

    async def until(disposition_id: str, state: str) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                found = await services.reports.disposition(UUID(disposition_id), OPERATOR)
                if found["state"] == state:
                    return found
                await asyncio.sleep(0.05)

    return until


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[None]:
    """Delivers as long as the test runs."""
    async with open_deliverer(settings, kind="worker") as deliverer:
        running = asyncio.create_task(deliverer.pump.run())

        async def keep_awake() -> None:
            while True:
                deliverer.pump.wake()
                await asyncio.sleep(0.05)

        waking = asyncio.create_task(keep_awake())
        yield
        waking.cancel()
        deliverer.pump.stop()
        await running


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A pseudo terminal: the file numbers of the user's end and of the program's."""
    ends = os.openpty()
    yield ends
    for number in ends:
        with suppress(OSError):  # closed by the test
            os.close(number)


@pytest.fixture
def empty_database(servers: ThrowawayServers) -> Iterator[str]:
    """A database that nobody has migrated."""
    name = f"empty_{os.getpid()}"
    admin = servers.database_url.replace("/wrapup?", "/postgres?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield servers.database_url.replace("/wrapup?", f"/{name}?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
