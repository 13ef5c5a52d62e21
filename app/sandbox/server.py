"""The sandbox itself: a request is judged by CloudAgent, spoilt by the script, logged and answered.

A request is applied when it has arrived in full; latency comes after that. So the order of the log is the
order in which dispositions took effect, and a caller that gives up waiting has changed nothing about that.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from app.sandbox.control import PREFIX, Control
from app.sandbox.credentials import Gate, fingerprint
from app.sandbox.endings import ENDINGS
from app.sandbox.endpoints import ENDPOINTS, Endpoint, read_query
from app.sandbox.faults import OK, Ending, Step
from app.sandbox.log import LogFile, Request, masked
from app.sandbox.pages import Page, html_page
from app.sandbox.replies import Reply
from app.sandbox.rules import Asked, Verdict
from app.sandbox.scripts import Script, Scripts
from app.sandbox.state import Account, AccountSettings, Call
from app.sandbox.wire import Connection, HttpRequest

_UNANSWERED = frozenset({Ending.RESET, Ending.HANG})


class NotLoopbackError(ValueError):
    """The sandbox was asked to listen where others could reach it."""


class Sandbox:
    """CloudAgent on this machine. An async context manager, on the event loop that enters it.

    `latency`: `5ms` or `5ms-20ms`. `faults`: a mix (`503=5,hang=1`, per cent) or the next steps
    (`503,reset_after`). `clock` gives seconds, for the lifetime of tokens and for limits. `accounts` beside
    the first are added by `account`. Raises `ValueError` for what it does not understand, `NotLoopbackError`
    for a host out of reach of here.
    """

    def __init__(
        self,
        *,
        api_key: str,
        customer: str = "sandbox",
        host: str = "127.0.0.1",
        port: int = 0,
        latency: str = "",
        faults: str = "",
        seed: int = 0,
        log_file: Path | None = None,
        fsync: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if host == "localhost":
            host = "127.0.0.1"
        if not _is_loopback(host):
            raise NotLoopbackError(f"the sandbox listens on loopback only, not on {host!r}: use 127.0.0.1 or ::1")
        self.gate = Gate()
        self.scripts = Scripts(seed=seed)
        self.log: list[Request] = []
        self.account(customer, api_key=api_key)
        self.scripts.configure({"latency": latency})
        if faults:
            self.scripts.play(faults)
        self._host, self._port = host, port
        self._clock = clock
        self._log_path, self._fsync = log_file, fsync
        self._log_file: LogFile | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._in_flight: Counter[str] = Counter()
        self._control = Control(self.gate, self.scripts, self.log, self._in_flight)
        self._seen = 0
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        if self._log_path is not None:
            self._log_file = LogFile(self._log_path, fsync=self._fsync)
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._server = await loop.create_server(
            lambda: Connection(self._handle, self._connections), self._host, self._port, backlog=2048
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()
        if self._log_file is not None:
            await self._log_file.close()

    @property
    def url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:41234`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def in_flight(self) -> int:
        """Requests that have arrived and are not over yet."""
        return self._in_flight.total()

    # What it does.

    def script(self, ucid: str, script: Script) -> None:
        """Scripts the coming requests about one call: `["reset_after", "503"]`, then all goes right."""
        self.scripts.call(ucid, script)

    def next(self, script: Script) -> None:
        """Scripts the next requests about calls that have no script of their own."""
        self.scripts.next(script)

    def misbehave(self, customer: str | None = None, **settings: str) -> None:
        """Sets `mix` and `latency` of the server, or of one account: `misbehave("slow", mix="hang=100")`."""
        if customer is None:
            self.scripts.configure(settings)
        else:
            self.scripts.account(customer, settings)

    def hang_up(self) -> None:
        """Resets every connection, as if the server had crashed: calls that hang end now."""
        for connection in list(self._connections):
            connection.reset()

    # What it knows.

    def account(self, customer: str = "sandbox", **settings: Unpack[AccountSettings]) -> Account:
        """Opens an account (with its `api_key`), or changes what is given of one. See `AccountSettings`."""
        return self.gate.change(customer, settings)

    def call(self, ucid: str, customer: str = "sandbox") -> Call | None:
        """What CloudAgent holds of a call, None if it has not heard of it."""
        account = self.gate.accounts.get(customer)
        return account.calls.get(ucid) if account else None

    # What it saw.

    def seen(self, ucid: str) -> list[Request]:
        """The requests about one call, in order."""
        return [request for request in self.log if request.ucid == ucid]

    async def arrivals(self, count: int, timeout: float = 10.0) -> list[Request]:
        """Waits until the log has `count` requests or more. Raises `TimeoutError` after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            while len(self.log) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.log

    # How it does it.

    def _handle(self, connection: Connection, request: HttpRequest) -> None:
        if request.path.startswith(PREFIX):
            page = self._control.answer(request)
            connection.write(page.to_bytes(keep_alive=request.keep_alive))
            connection.finish()
            return
        endpoint = ENDPOINTS.get(request.path)
        if endpoint is None or endpoint.method != request.method:
            self._turn_away(connection, request, 404 if endpoint is None else 405)
        else:
            self._dispose(connection, request, endpoint)

    def _dispose(self, connection: Connection, request: HttpRequest, endpoint: Endpoint) -> None:
        arrived = time.time_ns(), time.monotonic_ns()
        now = self._clock()
        parameters = endpoint.read(request)
        request_id = request.headers.get("x-request-id")
        presented = endpoint.credential(request, parameters)
        admitted = self.gate.admit(presented, now)
        account = admitted if isinstance(admitted, Account) else None
        asked = Asked.read(parameters, request_id or "")
        step, latency = self.scripts.step(endpoint.name, account, asked)
        verdict = self._judge(endpoint, admitted, asked, now) if step.applies else None
        page = step.page(verdict.reply if verdict else None)
        sent = step.ending not in _UNANSWERED

        self._in_flight[asked.customer] += 1
        connection.on_end = partial(self._over, asked.customer)
        self._seen += 1
        record = Request(
            number=self._seen,
            arrived_wall_ns=arrived[0],
            arrived_monotonic_ns=arrived[1],
            method=endpoint.method,
            path=endpoint.path,
            parameters=masked(parameters),
            request_id=request_id,
            customer=asked.customer,
            ucid=asked.ucid,
            credential=presented.kind,
            credential_right=account is not None,
            credential_fingerprint=fingerprint(presented.secret) if presented.secret else None,
            in_flight=self._in_flight[asked.customer],
            fault=step.text or None,
            applied=verdict is not None and verdict.applied,
            row=verdict.reply.name if verdict else None,
            status=page.status if sent else None,
            reply=_shown(page, verdict) if sent else None,
        )
        self._record(record, partial(self._answer, connection, page, step, latency, request.keep_alive))

    def _judge(self, endpoint: Endpoint, admitted: Account | Reply, asked: Asked, now: float) -> Verdict:
        if isinstance(admitted, Reply):
            return Verdict(admitted)
        return endpoint.answer(self.gate, admitted, asked, now)

    def _turn_away(self, connection: Connection, request: HttpRequest, status: int) -> None:
        """For a URL that CloudAgent does not have; logged too: clients that follow redirects come here."""
        page = html_page(status, "Not Found" if status == 404 else "Method Not Allowed")
        self._seen += 1
        record = Request(
            number=self._seen,
            arrived_wall_ns=time.time_ns(),
            arrived_monotonic_ns=time.monotonic_ns(),
            method=request.method,
            path=request.path,
            parameters=masked(read_query(request)),
            request_id=request.headers.get("x-request-id"),
            status=status,
            reply=page.body,
        )
        self._record(record, partial(self._answer, connection, page, OK, 0.0, request.keep_alive))

    def _record(self, record: Request, then: Callable[[], None]) -> None:
        self.log.append(record)
        self._arrived.set()
        if self._log_file is None:
            then()
        else:
            self._log_file.write(record.to_line(), then)

    def _answer(self, connection: Connection, page: Page, step: Step, latency: float, keep_alive: bool) -> None:
        if latency > 0:
            self._loop.call_later(latency, self._answer, connection, page, step, 0.0, keep_alive)
        elif not connection.lost:
            ENDINGS[step.ending](connection, page, keep_alive, step.argument)

    def _over(self, customer: str) -> None:
        self._in_flight[customer] -= 1


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(page: Page, verdict: Verdict | None) -> bytes:
    """The body for the log: a token that was made is not in it."""
    token = verdict.reply.fields.get("token") if verdict else None
    return page.body.replace(token.encode(), b"<token>") if isinstance(token, str) else page.body
