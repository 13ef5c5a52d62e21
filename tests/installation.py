"""Wrapup as its users run it: real processes, started in a folder of the test's own, by which they are found again."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from app.cli.beside import settings_for
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.keys import Scope
from app.wiring import open_services
from workers.watchdog import die_with_parent

Result = TypeVar("Result")

CALL = {"did": "918012345678", "agent_id": "a17", "disposition": "Sale"}


async def until(
    condition: Callable[[], Result | Awaitable[Result]], seconds: float = 30, *, every: float = 0.05
) -> Result:
    """What the condition gives, as soon as that is something true; it is asked for ``seconds``."""
    give_up = time.monotonic() + seconds
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return result
        assert time.monotonic() < give_up, f"not within {seconds:g} s: {inspect.getsource(condition).strip()}"
        await asyncio.sleep(every)


def lives(pid: int) -> bool:
    """Whether there is such a process, and it is more than an entry that nobody has fetched yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """The processes that this one started and that live, the oldest first."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in map(int, listed) if lives(child)]


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


class Running:
    """A command that goes on. All that it says is in ``output``."""

    def __init__(self, argv: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path) -> None:
        self.started = time.monotonic()
        self.file = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                argv,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                preexec_fn=die_with_parent,  # a test run that is killed leaves nothing
            )
        self.pid = self.process.pid

    @property
    def output(self) -> str:
        return self.file.read_text(errors="replace")

    async def says(self, text: str, seconds: float = 60) -> str:
        """Returns the rest of the line, once it has said that."""
        pattern = re.compile(rf"{re.escape(text)}(.*)\n")

        def said() -> re.Match[str] | None:
            assert self.process.poll() is None, self.output
            return pattern.search(self.output)

        return (await until(said, seconds))[1]

    async def ended(self, seconds: float = 30) -> int:
        """Its exit status; negative: the signal that killed it."""
        await until(lambda: self.process.poll() is not None, seconds, every=0.01)
        return self.process.returncode

    async def stop(self, seconds: float = 30) -> int:
        """Asks it to stop; gives its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended(seconds)


class Up(Running):
    """``wrapup up``."""

    data_dir: Path

    async def ready(self) -> str:
        """The URL of the API, once all is healthy."""
        self.url = await self.says("ready ")
        return self.url

    @property
    def curl_line(self) -> str:
        """The line that it printed to be pasted."""
        return next(line for line in self.output.splitlines() if line.startswith("curl "))

    @property
    def servers(self) -> dict[str, Any]:
        """What it tells the commands beside it."""
        return dict(json.loads((self.data_dir / "servers.json").read_text()))

    async def open_account(self, customer: str, api_key: str, base_url: str) -> str:
        """Sets up an account, and gives a key of a client of it."""
        async with open_services(settings_for(self.data_dir), name="test") as services:
            await services.accounts.set(customer, AccountSettings(Secret(api_key), base_url), actor="test")
            return await services.keys.create("crm", (Scope.SUBMIT, Scope.READ), [customer], actor="test")

    def pid_of(self, child: str) -> int:
        """The process of one of its children; 0 while that is down."""
        return int(self.servers["pids"].get(child, 0))

    def send_signal(self, child: str, number: signal.Signals) -> None:
        """To one of its children, which has to be there."""
        pid = self.pid_of(child)
        assert pid, f"there is no {child}"  # 0 would be this very process and all that it started
        os.kill(pid, number)


class Wrapup:
    """The command ``wrapup``, run in a folder with nothing in its environment but what is given."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.variables = dict(variables)
        self._started: list[Running] = []

    async def __call__(self, *words: str, stdin: str = "", **variables: str) -> Ran:
        """Runs a command to its end."""
        process = await asyncio.create_subprocess_exec(
            *self._argv(words),
            cwd=self.folder,
            env=self._environment(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(60):
                out, err = await process.communicate(stdin.encode())
        finally:
            with suppress(ProcessLookupError):
                process.kill()
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    def start(self, *words: str, **variables: str) -> Running:
        """Starts a command that goes on."""
        return self._start(Running, words, variables)

    def up(self, *options: str, **variables: str) -> Up:
        """Starts ``wrapup up``. The next one works on the same data."""
        data_dir = self.folder / "data"
        up = self._start(Up, ("up", "--port=0", f"--data-dir={data_dir}", *options), variables)
        up.data_dir = data_dir
        self.variables["WRAPUP_DATA_DIR"] = str(data_dir)  # for the commands beside it
        return up

    def processes(self) -> dict[int, str]:
        """What runs here: with the folder among its arguments or in its environment, or within it."""
        found = {int(entry.name): self._names_folder(entry) for entry in Path("/proc").glob("[0-9]*")}
        return {pid: arguments for pid, arguments in found.items() if arguments and lives(pid)}

    def end(self) -> None:
        """Kills what still runs."""
        for running in self._started:
            running.process.kill()
            running.process.wait()
        while left := self.processes():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _start(self, kind: type[RunningKind], words: Sequence[str], variables: Mapping[str, str]) -> RunningKind:
        output = self.folder / f"{len(self._started)}-{words[0]}.log"
        running = kind(self._argv(words), self.folder, self._environment(variables), output)
        self._started.append(running)
        return running

    def _argv(self, words: Sequence[str]) -> tuple[str, ...]:
        return (str(Path(sys.executable).with_name("wrapup")), *words)

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "FOLDER": str(self.folder)} | self.variables | dict(variables)

    def _names_folder(self, process: Path) -> str | None:
        try:
            arguments = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (process / "environ").read_bytes().decode(errors="replace")
            works_in = str((process / "cwd").readlink())
        except OSError:  # it has just ended, or is somebody else's
            return None
        return arguments if str(self.folder) in f"{arguments} {environment} {works_in}" else None


RunningKind = TypeVar("RunningKind", bound=Running)


def client(url: str, key: str) -> httpx.AsyncClient:
    """A client of the API."""
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False)


def ucids(count: int) -> Iterator[str]:
    """The numbers of as many calls."""
    return (str(1_700_000_000_000_000 + number) for number in range(count))
