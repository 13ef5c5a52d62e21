"""Where a call may go.

The base URL of an account is data, so it must not become a way into the network around us.
Checked twice: ``check_base_url`` when it is set, and the address itself on every connect, after the one and
only lookup of the name. The connection goes to the very address that was judged, so a name that changes its
answer between check and use (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from app.domain.errors import Fault, InvalidInput

IPAddress = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[IPAddress]]]
"""From a host name and a port to its addresses, the preferred one first. Raises ``OSError``."""


def _networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)


# From IANA's special-purpose registries, written out: what ``is_global`` of the standard library says has
# changed within Python 3.11. The first entry that fits decides.
_KINDS = (
    ("loopback", _networks("127.0.0.0/8", "::1/128")),
    ("private", _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")),
    ("link-local", _networks("169.254.0.0/16", "fe80::/10")),
    ("multicast", _networks("224.0.0.0/4", "ff00::/8")),
    ("unspecified", _networks("0.0.0.0/8", "::/128")),
    (
        "reserved",
        _networks(
            # protocol assignments, documentation, 6to4 relays, benchmarks, future use
            *("192.0.0.0/24", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
            *("192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4"),
            # protocol assignments with Teredo, documentation
            *("2001::/23", "2001:db8::/32", "3fff::/20"),
        ),
    ),
    ("public", _networks("0.0.0.0/0", "2000::/3")),
)

# IPv6 addresses that lead to an IPv4 address, and how far from the right its bits stand: v4-mapped, NAT64,
# 6to4.
_EMBEDDINGS = (
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)

# A last label that begins with a letter: "127.1" and "0x7f000001" are spellings of an address, not names.
_HOST_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_EXAMPLE = "write it like https://in1-ccaas-api.ozonetel.com"
_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f-\xa0\\]")


def kind_of(address: IPAddress) -> str:
    """``public``, ``private``, ``loopback`` and so on; one IPv4 within IPv6 is looked at too."""
    for network, shift in _EMBEDDINGS:
        if address in network:
            embedded = IPv4Address(int(address) >> shift & 0xFFFFFFFF)
            return "public" if kind_of(embedded) == "public" else "reserved"
    kinds = (kind for kind, networks in _KINDS if any(address in network for network in networks))
    return next(kinds, "reserved")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Which kinds of address may be called, beside public ones.

    Link-local ones, where clouds keep their metadata, never are.
    """

    allow_private: bool = False
    allow_loopback: bool = False

    def objection(self, scheme: str, address: IPAddress) -> str | None:
        """Why ``address`` must not be called with ``scheme``, or None if it may be."""
        kind = kind_of(address)
        if kind == "loopback":
            return None if self.allow_loopback else "loopback addresses are not allowed here"
        if scheme != "https":
            return "http is for loopback only, anything else must be https: the apiKey travels in the request"
        if kind == "public" or (kind == "private" and self.allow_private):
            return None
        return f"{address} is a {kind} address, and those are not allowed here"


def check_base_url(url: str, policy: AddressPolicy) -> None:
    """Refuse a base URL that no call could be made to; raises ``InvalidInput`` for the field ``base_url``.

    A name is not looked up: what it leads to is judged on every connect.
    """
    fault = _fault_of(url, policy)
    if fault is not None:
        raise InvalidInput([Fault("base_url", f"base_url {fault}.")])


def check_path(path: str) -> None:
    """Refuse a path that can't stand in for the documented one; raises ``InvalidInput`` for ``path``."""
    if not _PATH.fullmatch(path):
        raise InvalidInput([Fault("path", "path must start with / and have only letters, digits and -._~/ in it.")])


def _fault_of(url: str, policy: AddressPolicy) -> str | None:
    # The texts don't repeat the URL: what was pasted may hold a password or a key.
    if _NOT_IN_A_URL.search(url):
        return f"has spaces, control characters or backslashes; {_EXAMPLE}"
    if "?" in url or "#" in url:
        return "must not have a query or a fragment: give the apiKey on its own"
    try:
        parsed = httpx.URL(url)
        host, port = parsed.raw_host.decode("ascii"), parsed.port
    except (httpx.InvalidURL, ValueError):
        return f"is not a URL; {_EXAMPLE}"
    if parsed.scheme not in ("https", "http") or not host:
        return f"is not a whole URL; {_EXAMPLE}"
    if parsed.userinfo or "@" in url:
        return "must not have a user name or a password"
    if port is not None and not 0 < port < 65536:
        return f"has the port {port}; ports go from 1 to 65535"
    return _fault_of_host(parsed.scheme, host, policy)


def _fault_of_host(scheme: str, host: str, policy: AddressPolicy) -> str | None:
    address = literal(host)
    if address is None and host.rstrip(".").rpartition(".")[2] == "localhost":
        address = IPv4Address("127.0.0.1")
    if address is not None:
        objection = policy.objection(scheme, address)
        return f"can't be called: {objection}" if objection else None
    if not _HOST_NAME.fullmatch(host):
        return f"has the host {host!r}, which is neither a name nor an address"
    if scheme != "https":
        return "must be https, the apiKey travels in the request; http is for loopback only"
    return None


def literal(host: str) -> IPAddress | None:
    """The address that ``host`` spells out, or None if it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


class SystemResolver:
    """The operating system's resolver, in threads of its own, with one lookup at a time per name.

    A name whose servers don't answer holds a thread for half a minute. Shared by all calls that wait for it,
    it holds one, and the names of other accounts are still looked up.
    """

    def __init__(self, look_up: Callable[[str, int], Sequence[IPAddress]] | None = None) -> None:
        self._look_up = look_up or _look_up
        self._threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="resolver")
        self._lookups: dict[tuple[str, int], asyncio.Future[Sequence[IPAddress]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[IPAddress]:
        """The addresses of ``host``; raises ``OSError``."""
        key = (host, port)
        if key not in self._lookups:
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host, port)
            self._lookups[key] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(key))
        return await asyncio.shield(self._lookups[key])


def _look_up(host: str, port: int) -> Sequence[IPAddress]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(None, "not a host name") from None
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
