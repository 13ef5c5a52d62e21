"""The HTTP transport below httpx: one request, one attempt, and exact knowledge of whether it left.

httpx's own pool costs 3,400 µs of CPU a call at 100 in flight (encode/httpx#3215). aiohttp is quick, but
repeats an idempotent request by itself when a kept connection drops, and can't say whether a request was
sent; here every repeat must have an attempt row of its own. So this is a transport of our own: asyncio
protocols, httptools, no repeat ever.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import cache

import httpx

from app.cloudagent.addresses import AddressPolicy, IPAddress, Resolver, SystemResolver, literal
from app.cloudagent.connection import Connection, Origin
from app.cloudagent.failures import NotSent, explain
from app.cloudagent.wire import Reply, request_bytes

_DEFAULT_PORTS = {"https": 443, "http": 80}
_FIRST_TRY_SECONDS = 2.0  # to connect to an address when there is another one to go to


class CloudAgentTransport(httpx.AsyncBaseTransport):
    """Sends each request once, over connections that are kept alive. Belongs to one event loop.

    Reads from ``request.extensions``: ``target`` (path and query for the wire, in place of the URL's),
    ``wrapup.secret`` (``SecretQuery`` or ``SecretHeader``), ``wrapup.send_by`` (of ``time.monotonic``; not
    one byte is sent later). Writes there: ``wrapup.sent``, true from the moment the request is handed to the
    socket. The reply's extension ``wrapup.too_large`` says that its body was cut off at ``max_body_bytes``.

    There is no cap on calls in flight: whoever calls has one, and a queue here would only hide a second.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        max_body_bytes: int = 64 * 1024,
        idle_seconds: float = 15.0,
        max_idle: int = 256,
    ) -> None:
        self._policy = policy
        self._resolver = resolver or SystemResolver()
        self._ssl_context = ssl_context
        self._max_body_bytes = max_body_bytes
        self._idle_seconds = idle_seconds
        self._max_idle = max_idle
        self._idle_count = 0
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, once; raises ``NotSent`` or ``SentUnknown``."""
        url = request.url
        origin = Origin(url.scheme, url.raw_host.decode("ascii"), url.port or _DEFAULT_PORTS[url.scheme])
        connection = self._take(origin) or await self._connect(origin)
        try:
            reply = await self._exchange(connection, request)
        except BaseException:  # cancellation too: a late reply must not meet the next request
            connection.abort()
            raise
        if connection.may_idle(reply, self._idle_seconds) and self._idle_count < self._max_idle:
            self._keep(connection)
        else:
            connection.abort()
        return _response(reply)

    @staticmethod
    async def _exchange(connection: Connection, request: httpx.Request) -> Reply:
        await request.aread()
        on_the_wire = request_bytes(request)
        # An event loop that stalled may come here before it comes to the timer of the deadline.
        if time.monotonic() >= request.extensions.get("wrapup.send_by", float("inf")):
            raise NotSent(f"the deadline passed before the request to {connection.origin} was sent")
        request.extensions["wrapup.sent"] = True
        return await connection.exchange(on_the_wire)

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        closing = [connection.lost for connection in self._open]
        for connection in list(self._open):
            connection.abort()
        if self._sweep is not None:
            self._sweep.cancel()
        await asyncio.gather(*closing)

    # Connections.

    async def _connect(self, origin: Origin) -> Connection:
        """A new connection, to the first of the host's addresses that answers; raises ``NotSent``."""
        addresses = await self._resolve(origin)
        objections = [self._policy.objection(origin.scheme, address) for address in addresses]
        # One forbidden address among allowed ones is a trick or a mistake: neither is called.
        objection = next(filter(None, objections), None)
        if objection is not None or not addresses:
            raise NotSent(f"{origin} is not called: {objection or 'it has no address'}")
        said = ""
        for address in addresses:
            try:
                async with asyncio.timeout(None if address == addresses[-1] else _FIRST_TRY_SECONDS):
                    return await self._open_connection(origin, address)
            except OSError as error:
                said = explain(error)
        raise NotSent(f"no connection to {origin}: {said}")

    async def _resolve(self, origin: Origin) -> Sequence[IPAddress]:
        address = literal(origin.host)
        if address is not None:
            return [address]
        try:
            return await self._resolver(origin.host, origin.port)
        except OSError as error:
            said = error.strerror or type(error).__name__
        raise NotSent(f"the host name of {origin} can't be resolved: {said}")

    async def _open_connection(self, origin: Origin, address: IPAddress) -> Connection:
        secure = origin.scheme == "https"
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(origin, self._max_body_bytes, self._forget),
            str(address),
            origin.port,
            ssl=(self._ssl_context or _system_trust()) if secure else None,
            server_hostname=origin.host if secure else None,
        )
        if not connection.lost.done():  # it may be, before anybody had it in hands
            self._open.add(connection)
        return connection

    def _take(self, origin: Origin) -> Connection | None:
        """The connection that was used last, if there is one that can be used."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            self._idle_count -= 1
            if connection.usable():
                return connection
            connection.abort()
        return None

    def _keep(self, connection: Connection) -> None:
        self._idle[connection.origin].append(connection)
        self._idle_count += 1
        self._sweep_later()

    def _sweep_later(self) -> None:
        if self._sweep is None and self._idle_count:
            self._sweep = asyncio.get_running_loop().call_later(self._idle_seconds, self._sweep_idle)

    def _sweep_idle(self) -> None:
        """Close what has been idle for too long. One timer for all connections, none per call."""
        for origin, idle in list(self._idle.items()):
            for connection in [connection for connection in idle if not connection.usable()]:
                idle.remove(connection)
                self._idle_count -= 1
                connection.abort()
            if not idle:
                del self._idle[origin]
        self._sweep = None
        self._sweep_later()

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        idle = self._idle.get(connection.origin, [])
        if connection in idle:
            idle.remove(connection)
            self._idle_count -= 1


def _response(reply: Reply) -> httpx.Response:
    return httpx.Response(
        reply.status,
        headers=reply.headers,
        stream=httpx.ByteStream(reply.body),
        extensions={"wrapup.too_large": reply.too_large},
    )


@cache
def _system_trust() -> ssl.SSLContext:
    """The system's authorities, read when the first call needs them: 20 ms that most commands can do without.

    ``create_default_context`` would also write keys to ``SSLKEYLOGFILE``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context
