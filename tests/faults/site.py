"""A whole Wrapup on servers of its own, with a proxy before each of them, kept running whatever is done to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import LiteralString
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import psycopg
from cryptography.fernet import Fernet
from psycopg.rows import TupleRow
from redis import Redis

from app.embedded.postgres import EmbeddedPostgres
from app.embedded.processes import Child
from app.embedded.valkey import EmbeddedValkey
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.keys import Scope
from app.settings import Settings
from app.storage import schema
from app.storage.engine import make_engine
from app.wiring import open_services
from tests.faults.points import CrashPoints
from tests.faults.postgres_proxy import PostgresProxy
from tests.faults.upstream_proxy import UpstreamProxy
from tests.installation import Running, Wrapup, children, lives, until
from workers.watchdog import die_with_parent

# Short, so that a run sees many leases run out. A lease is the three together.
DEADLINE, WATCHDOG, MARGIN = 1.0, 1.0, 1.0
LEASE = DEADLINE + WATCHDOG + MARGIN
BRIEF = {
    "WRAPUP_CALL_DEADLINE_SECONDS": f"{DEADLINE:g}",
    "WRAPUP_WATCHDOG": f"{WATCHDOG:g}s",
    "WRAPUP_LEASE_MARGIN": f"{MARGIN:g}s",
    "WRAPUP_RETRY_DELAYS": "50ms,100ms,200ms",
    "WRAPUP_MAX_ATTEMPTS": "200",  # a disposition that is hit again and again is to get through at last
    "WRAPUP_BREAKER_PAUSES": "200ms,500ms",
    "WRAPUP_LOG_FORMAT": "json",
}
SCHEDULERS = 2


class Site:
    """One run's installation, in ``folder``. ``code``: a copy of Wrapup's code to run in place of ours."""

    def __init__(
        self, folder: Path, points: CrashPoints, *, seed: int, settings: Mapping[str, str], code: Path | None = None
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.points = points
        self.seed = seed
        self.api_keys = {name: f"KK{name}0123456789abcdef" for name in ("acme", "calm", "held", "trouble")}
        self.disk = _small_disk(folder / "broker")
        self._postgres = EmbeddedPostgres(folder / "database")
        self._valkey = EmbeddedValkey(self.disk or folder / "broker")
        self.servers = {
            "postgres": Child(self._postgres.command),
            "valkey": Child(self._valkey.command),
        }
        sockets = Path(parse_qs(urlsplit(self._postgres.url).query)["host"][0])
        self.database = PostgresProxy(folder / "proxy", sockets / ".s.PGSQL.5432", points.at_edge)
        self._variables = {
            **BRIEF,
            "WRAPUP_DATABASE_URL": f"postgresql://postgres@/wrapup?host={quote(str(self.database.folder))}&port=5432",
            "WRAPUP_BROKER_URL": self._valkey.url,
            "WRAPUP_SECRET_KEYS": Fernet.generate_key().decode(),
            **settings,
        }
        if code is not None:
            self._variables["PYTHONPATH"] = str(code)
        self.wrapup = Wrapup(folder / "processes", self._variables)
        self._zygote = _Zygote(self.wrapup.folder, code)
        self._port = _free_port()
        self.processes: dict[str, Running | _Forked] = {}
        self._tending: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def broker(self) -> Redis:
        """A client of the broker."""
        path = self._valkey.url.partition("://")[2].partition("?")[0]
        return Redis(unix_socket_path=path, socket_timeout=1)

    @property
    def broker_url(self) -> str:
        return self._valkey.url

    async def start(self) -> None:
        """Returns when the API answers and both children of the worker have begun."""
        self._postgres.prepare()
        for server in self.servers.values():
            server.start()
        await self.database.start()
        settings = self._settings()
        engine = make_engine(self._postgres.url, name="site")
        await schema.upgrade(engine)
        await engine.dispose()
        await self._open_accounts(settings)
        self.points.process_at = self.upstream.process_at
        self.processes["worker"] = self.wrapup.start("worker", "--processes=2")
        for number in range(SCHEDULERS):
            self.processes[f"scheduler-{number}"] = self.wrapup.start("scheduler")
        self._start_api()
        self._tending = asyncio.create_task(self._tend())
        await until(self._serves, 60)

    async def stop(self) -> None:
        """Ends everything."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])
        self._zygote.end()
        self.wrapup.end()
        await self.database.stop()
        for server in self.servers.values():
            server.kill()
            server.stop()
        if self.disk is not None:
            await asyncio.to_thread(subprocess.run, ["umount", str(self.disk)], check=True)

    def deliverers(self) -> Iterator[int]:
        """The processes that may call CloudAgent."""
        yield from self.worker_children()
        for name, process in self.processes.items():
            if name.startswith("scheduler"):
                yield process.pid

    def worker_children(self) -> list[int]:
        """The children of the worker; none while it is down."""
        with suppress(FileNotFoundError, ProcessLookupError):
            return children(self.processes["worker"].pid)
        return []

    def unfinished(self) -> int:
        """How many dispositions have no final state."""
        return len(self._ask("SELECT id FROM dispositions WHERE finished_at IS NULL"))

    def on_hold(self) -> list[str]:
        """The accounts that are on hold."""
        return [customer for (customer,) in self._ask("SELECT customer FROM accounts WHERE hold_cause IS NOT NULL")]

    def _ask(self, question: LiteralString) -> list[TupleRow]:
        """Directly, past the proxy."""
        with psycopg.connect(self._postgres.url, connect_timeout=5) as connection:
            return connection.execute(question).fetchall()

    async def export(self) -> None:
        """Writes ``export.ndjson``, as an operator would."""
        ran = await self.wrapup("audit", "export")
        assert ran.status == 0, ran.err
        (self.folder / "export.ndjson").write_text(ran.out)
        (self.folder / "secrets.txt").write_text("\n".join(self.api_keys.values()))
        (self.folder / "lease.txt").write_text(f"{LEASE:g}")
        for log in self.wrapup.folder.glob("*.log"):
            log.rename(self.folder / log.name)

    async def misbehave(self, accounts: Mapping[str, Mapping[str, str]]) -> None:
        """How the stand-in answers these accounts from now on."""
        async with httpx.AsyncClient(base_url=self._sandbox_url, trust_env=False) as control:
            reply = await control.put("/_sandbox/script", json={"accounts": accounts, "seed": self.seed})
            assert reply.status_code == 200, reply.text

    def _settings(self) -> Settings:
        return Settings(
            database_url=self._postgres.url,
            broker_url=self._valkey.url,
            secret_keys=self._variables["WRAPUP_SECRET_KEYS"],
        )

    async def _open_accounts(self, settings: Settings) -> None:
        log = self.folder / "cloudagent.ndjson"
        sandbox = self.wrapup.start(
            *("sandbox", "--customer=acme", f"--api-key={self.api_keys['acme']}", f"--log={log}", "--fsync"),
        )
        self._sandbox_url = "http://" + await sandbox.says("sandbox http://")
        self.upstream = UpstreamProxy(int(self._sandbox_url.rpartition(":")[2]), self.points.at_edge, self.deliverers)
        await self.upstream.start()
        async with (
            httpx.AsyncClient(base_url=self._sandbox_url, trust_env=False) as control,
            open_services(settings, name="site") as services,
        ):
            for customer, api_key in self.api_keys.items():
                await control.put(f"/_sandbox/accounts/{customer}", json={"api_key": api_key})
                account = AccountSettings(Secret(api_key), self.upstream.url)
                await services.accounts.set(customer, account, actor="site")
            scopes = (Scope.SUBMIT, Scope.READ, Scope.OPERATE)
            self.key = await services.keys.create("crm", scopes, actor="site")

    def _start_api(self) -> None:
        words = ("api", f"--port={self._port}")
        self.processes["api"] = self._zygote.start(words, self.wrapup.folder, self._variables)

    async def _serves(self) -> bool:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            try:
                reply = await client.get("/health/live")
            except httpx.TransportError:
                return False
        worker = self.processes["worker"]
        return reply.status_code == 200 and isinstance(worker, Running) and worker.output.count("worker ready") == 2

    async def _tend(self) -> None:
        """Starts again what died, as a supervisor would."""
        while True:
            for server in self.servers.values():
                server.tend()
            for name, process in list(self.processes.items()):
                if lives(process.pid):
                    continue
                if name == "api":
                    self.points.rest("api", 0.2)
                    self._start_api()
                elif name == "worker":
                    self.points.rest("worker", 3)
                    self.processes[name] = self.wrapup.start("worker", "--processes=2")
                else:
                    self.processes[name] = self.wrapup.start("scheduler")
            await asyncio.sleep(0.05)


class _Forked:
    """An API that the zygote started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid


class _Zygote:
    def __init__(self, folder: Path, code: Path | None) -> None:
        environment = {"PATH": os.environ["PATH"]} | ({} if code is None else {"PYTHONPATH": str(code)})
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("zygote.py"))],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    def start(self, words: tuple[str, ...], folder: Path, variables: Mapping[str, str]) -> _Forked:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        environment = {"PATH": os.environ["PATH"], "FOLDER": str(folder), **variables}
        wanted = {"words": words, "folder": str(folder), "environment": environment, "output": str(folder / "api.log")}
        print(json.dumps(wanted), file=self._process.stdin, flush=True)
        return _Forked(int(self._process.stdout.readline()))

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _small_disk(folder: Path) -> Path | None:
    """A disk that can be filled, for the broker; None where this user may not mount one."""
    folder.mkdir()
    if os.geteuid() != 0:
        return None
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(folder)], capture_output=True, check=False
    )
    return folder if mounted.returncode == 0 else None


def stop_still(pid: int) -> None:
    """The process stands still, until it is told to go on."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)


def go_on(pid: int) -> None:
    """It goes on."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
