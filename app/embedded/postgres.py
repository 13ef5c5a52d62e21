"""PostgreSQL of our own, for ``wrapup up`` and the tests: reached by its owner only, through a socket."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg

from app.domain.errors import ConfigurationError
from app.embedded.binaries import find_postgres
from app.embedded.processes import Child, Command, running
from app.embedded.sockets import socket_folder
from app.embedded.unprivileged import run_as

_DATABASE = "wrapup"
_PORT = 5432  # of no network: it is a part of the socket's name

# Nothing of the user's environment: neither PG* variables nor a locale that is not installed.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

_CLUSTER = (
    "--username=postgres",
    "--auth=trust",  # the socket's folder is closed to all others
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "max_connections": "200",
    "shared_buffers": "128MB",
    "jit": "off",  # the statements are small: compiling one costs more than running it
    "log_checkpoints": "off",
}
_FAST_AND_LOOSE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
}


class EmbeddedPostgres:
    """One PostgreSQL below a data dir, with one database, ``wrapup``.

    Run it with `start` and `stop`, or `prepare` it and hand `command` to a supervisor. One at a time may use
    a data dir; see ``data_dir.hold``. With ``durable=False``, for tests, a crash of the machine may lose all.
    """

    def __init__(self, data_dir: Path, *, bin_dir: Path | None = None, durable: bool = True) -> None:
        """Raises ``ConfigurationError`` if PostgreSQL is not installed, or can't be run here by this user."""
        data_dir = data_dir.absolute()
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._cluster = data_dir / "postgres"
        self._log = data_dir / "postgres.log"
        self._durable = durable
        self._binaries = find_postgres(bin_dir)
        self._run_as = run_as(self._cluster, self._binaries.postgres)
        self._sockets = socket_folder(data_dir / "postgres.socket", owner=self._run_as.uid)
        self._child = Child(self.command)

    @property
    def url(self) -> str:
        """Where the database ``wrapup`` is, for libpq and for SQLAlchemy."""
        return self._url(_DATABASE)

    def start(self) -> None:
        """Runs the server, and returns when the database can be used. May raise ``ProcessFailed``."""
        self.prepare()
        self._child.start()

    def stop(self) -> None:
        """Ends it as a clean shutdown, if it runs."""
        self._child.stop()

    def prepare(self) -> None:
        """Makes the cluster if there is none, and clears away what a killed server left.

        Raises ``ProcessFailed`` if that fails, ``ConfigurationError`` if a server is still running there.
        """
        with self.preparing():
            pass

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """`prepare`, while the block runs: it takes most of a second."""
        if self._cluster.exists():
            self._clear_lock()
            yield
            return
        for left_over in self._cluster.parent.glob("postgres.unfinished-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        # Made beside its place and then moved there, so that one that was killed half way is never used. And under
        # a new name each time: processes of a killed one may still be writing.
        unfinished = Path(tempfile.mkdtemp(prefix="postgres.unfinished-", dir=self._cluster.parent))
        if self._run_as.uid is not None:
            os.chown(unfinished, self._run_as.uid, -1)
        argv = [*self._run_as.prefix, str(self._binaries.initdb), f"--pgdata={unfinished}", *_CLUSTER]
        if not self._durable:
            argv.append("--no-sync")
        initdb = Command("initdb", tuple(argv), _ENVIRONMENT, log_file=self._log, uid=self._run_as.uid)
        with running(initdb):
            yield
        unfinished.rename(self._cluster)

    @property
    def command(self) -> Command:
        """How to run the prepared server."""
        settings = {**_SETTINGS, "unix_socket_directories": str(self._sockets)}
        if not self._durable:
            settings |= _FAST_AND_LOOSE
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Command(
            name="postgres",
            # Without --fork, unshare becomes the server: the signals reach it, and its death is noticed.
            argv=(*self._run_as.prefix, str(self._binaries.postgres), "-D", str(self._cluster), *options),
            env=_ENVIRONMENT,
            ready=self._is_ready,
            ready_within=60,  # after a crash it first replays its log
            tries=4,  # processes of a killed predecessor may take a moment to let go of its shared memory
            stop_signal=signal.SIGINT,  # "fast": ends sessions and does not wait for them to leave
            grace=30,
            log_file=self._log,
            uid=self._run_as.uid,
        )

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self._sockets))}&port={_PORT}"

    def _is_ready(self) -> bool:
        """Whether it takes connections to our database, which is made if it is missing."""
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError as error:
            return f'database "{_DATABASE}" does not exist' in str(error) and self._create_database()
        return True

    def _create_database(self) -> bool:
        try:
            with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {_DATABASE}")
        except psycopg.Error:
            return False  # the next look tells
        return True

    def _clear_lock(self) -> None:
        """Removes the lock file of a server that is gone.

        PostgreSQL itself would refuse to start if another process has the number of the old one by now, as
        happens in a container, where each start counts from the same number.
        """
        lock = self._cluster / "postmaster.pid"
        for _ in range(60):
            if not _is_running_in(self._cluster, lock):
                break
            time.sleep(0.05)  # one whose supervisor was killed is just being killed, too
        else:
            raise ConfigurationError(
                f"A PostgreSQL still runs on {self._cluster}. Stop it (kill -INT {_pid_in(lock)}), and start again."
            )
        lock.unlink(missing_ok=True)
        (self._sockets / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)


def _is_running_in(cluster: Path, lock: Path) -> bool:
    pid = _pid_in(lock)
    if pid is None:
        return False
    if not Path("/proc/self").exists():  # not Linux: all there is to know is whether the process is there
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, 0)
            return True
        return False
    with suppress(OSError):  # PostgreSQL works in its folder; a process that may not be looked at is not ours
        return Path(f"/proc/{pid}/cwd").samefile(cluster)
    return False


def _pid_in(lock: Path) -> int | None:
    try:
        return int(lock.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None
