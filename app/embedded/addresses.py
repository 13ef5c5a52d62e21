"""Addresses that ``wrapup up`` listens on: free before it starts, answering when it is ready."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass

from app.domain.errors import ConfigurationError

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not listened on


@dataclass(frozen=True, slots=True)
class Address:
    """A host, as a name or a number, and a port of TCP."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """As a client on this machine writes it."""
        host = self._near
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def takes_connections(self) -> bool:
        """Whether something listens."""
        try:
            socket.create_connection((self._near, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def answers(self, path: str) -> bool:
        """Whether a GET of the path is answered with 200."""
        connection = http.client.HTTPConnection(self._near, self.port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    @property
    def _near(self) -> str:
        return _EVERYWHERE.get(self.host, self.host)


def usable_address(host: str, port: int) -> Address:
    """The address, any free port for port 0. Raises ``ConfigurationError`` if it can't be listened on."""
    try:
        return _probed(host, port)
    except OSError as error:
        raise ConfigurationError(
            f"{host}:{port} can't be listened on: {error.strerror or error}. "
            "Stop what uses it, or choose another with --port (0 takes a free one) or --host."
        ) from None


def free_address(host: str, preferred: int) -> Address:
    """The address with the preferred port, or with another one if that is taken."""
    try:
        return _probed(host, preferred)
    except OSError:
        return usable_address(host, 0)


def _probed(host: str, port: int) -> Address:
    family, kind, _, _, (name, *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((name, port))
        return Address(host, int(probe.getsockname()[1]))
