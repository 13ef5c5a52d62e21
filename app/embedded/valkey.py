"""Valkey of our own, for ``wrapup up`` and the tests. Only its owner reaches it, through a Unix socket."""

from __future__ import annotations

import socket
from pathlib import Path

from app.embedded.binaries import find_valkey
from app.embedded.processes import Child, Command
from app.embedded.sockets import socket_folder


class EmbeddedValkey:
    """One Valkey below a data dir. Run it with `start` and `stop`, or hand `command` to a supervisor.

    With ``durable=False`` it keeps nothing on the disk: for tests.
    """

    def __init__(self, data_dir: Path, *, binary: Path | None = None, durable: bool = True) -> None:
        """Raises ``ConfigurationError`` if Valkey is not installed."""
        self._binary = find_valkey(binary)
        self._durable = durable
        self._folder = data_dir.absolute() / "valkey"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket = socket_folder(self._folder) / "valkey.sock"
        self._log = data_dir.absolute() / "valkey.log"
        self._child = Child(self.command)

    @property
    def url(self) -> str:
        """Where it is, for Celery."""
        return f"redis+socket://{self._socket}?virtual_host=0"

    def start(self) -> None:
        """Runs the server, and returns when it answers. Raises ``ProcessFailed`` if it does not start."""
        self._child.start()

    def stop(self) -> None:
        """Ends it as a clean shutdown, if it runs."""
        self._child.stop()

    @property
    def command(self) -> Command:
        """How to run the server."""
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "save": "",
            "appendonly": "yes" if self._durable else "no",
            "maxmemory-policy": "noeviction",
        }
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return Command(
            name="valkey",
            argv=(str(self._binary), *options),
            env={"LC_ALL": "C", "TZ": "UTC"},
            ready=self._is_ready,
            log_file=self._log,
        )

    def _is_ready(self) -> bool:
        """Whether it answers PING. While it still loads its file it answers with an error."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
