"""The control plane: steers a sandbox that runs in a process of its own, by HTTP under `/_sandbox/`.

    GET    /_sandbox/health                    {"status", "requests", "in_flight", "customers"}
    PUT    /_sandbox/script                    what goes wrong from now on; members as in `SCRIPT`
    DELETE /_sandbox/script                    nothing goes wrong any more
    GET    /_sandbox/log?after=N               NDJSON of the requests seen, in order, from number N + 1 on
    DELETE /_sandbox/log                       forgets them (numbers go on; a log file stays as it is)
    GET    /_sandbox/calls/{customer}/{ucid}   what CloudAgent holds of the call
    PUT    /_sandbox/calls/{customer}/{ucid}   {"did": …, "ongoing": true} makes it known; false ends it
    PUT    /_sandbox/accounts/{customer}       opens or changes an account; members as in `AccountSettings`

Mistakes answer 400 or 404 with {"error": …}, and change nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, cast
from urllib.parse import parse_qs, unquote

from app.sandbox import members
from app.sandbox.credentials import Gate
from app.sandbox.log import Request
from app.sandbox.members import Kind, read_members
from app.sandbox.pages import Page, json_page
from app.sandbox.scripts import Scripts
from app.sandbox.state import Account, AccountSettings
from app.sandbox.wire import HttpRequest

PREFIX = "/_sandbox/"

SCRIPT: dict[str, Kind] = {
    "calls": members.SCRIPTS,  # in place of what was scripted for these calls
    "next": members.SCRIPT,  # added for the next requests about any other call
    "token": members.SCRIPT,  # for the next requests for a token
    "mix": members.TEXT,  # "503=5,hang=1", per cent; "" ends it
    "latency": members.TEXT,  # "5ms" or "5ms-20ms"; "" ends it
    "seed": members.NUMBER,  # of the mix and of the latency
    "accounts": members.BEHAVIOURS,  # {customer: {"mix": …, "latency": …}}, before those of the server
}
_ACCOUNT: dict[str, Kind] = {
    "api_key": members.TEXT,
    "agents": members.TEXTS.or_null(),
    "calls": members.CALLS.or_null(),
    "callback_formats": members.TEXTS,
    "codes": members.TEXTS,
    "per_minute": members.NUMBER.or_null(),
    "magic": members.FLAG,
}
_CALL: dict[str, Kind] = {"did": members.TEXT.or_null(), "ongoing": members.FLAG}
_OK = json_page({"status": "ok"})


class _NotThereError(LookupError):
    """There is nothing of that name."""


@dataclass(frozen=True, slots=True)
class Control:
    """Answers the control plane's requests about one sandbox."""

    gate: Gate
    scripts: Scripts
    log: list[Request]
    in_flight: Counter[str]

    def answer(self, request: HttpRequest) -> Page:
        """The page for one request; never raises for what the caller did wrong."""
        for method, pattern, respond in _ROUTES:
            match = pattern.fullmatch(request.path)
            if match is not None and method == request.method:
                try:
                    return respond(self, request, *map(unquote, match.groups()))
                except _NotThereError as error:
                    return json_page({"error": str(error)}, 404)
                except ValueError as error:
                    return json_page({"error": str(error)}, 400)
        return json_page({"error": f"there is no {request.method} {request.path}: see app/sandbox/control.py"}, 404)

    def health(self, _: HttpRequest) -> Page:
        return json_page(
            {
                "status": "ok",
                "requests": len(self.log),
                "in_flight": self.in_flight.total(),
                "customers": sorted(self.gate.accounts),
            }
        )

    def put_script(self, request: HttpRequest) -> Page:
        wanted = read_members(request.body, SCRIPT)
        _script(Scripts(), wanted)  # raises before anything is changed
        _script(self.scripts, wanted)
        return _OK

    def delete_script(self, _: HttpRequest) -> Page:
        self.scripts.clear()
        return _OK

    def get_log(self, request: HttpRequest) -> Page:
        after = int(parse_qs(request.query).get("after", ["0"])[0])
        lines = b"".join(record.to_line() for record in self.log if record.number > after)
        return Page(200, lines, "application/x-ndjson")

    def delete_log(self, _: HttpRequest) -> Page:
        self.log.clear()
        return _OK

    def get_call(self, _: HttpRequest, customer: str, ucid: str) -> Page:
        call = self._account(customer).calls.get(ucid)
        if call is None:
            raise _NotThereError(f"{customer!r} has no call {ucid!r} so far")
        return json_page({"customer": customer, "ucid": ucid, **asdict(call)})

    def put_call(self, request: HttpRequest, customer: str, ucid: str) -> Page:
        wanted = read_members(request.body, _CALL)
        account = self._account(customer)
        call = account.calls.get(ucid) or account.announce(ucid)
        call.did = cast("str | None", wanted.get("did", call.did))
        if wanted.get("ongoing") is False:
            call.end()
        elif wanted.get("ongoing"):
            call.ongoing = True
        return self.get_call(request, customer, ucid)

    def put_account(self, request: HttpRequest, customer: str) -> Page:
        wanted = read_members(request.body, _ACCOUNT)
        self.gate.change(customer, cast(AccountSettings, wanted))
        return _OK

    def _account(self, customer: str) -> Account:
        account = self.gate.accounts.get(customer)
        if account is None:
            raise _NotThereError(f"there is no account {customer!r}: PUT {PREFIX}accounts/{customer} opens one")
        return account


_ROUTES: tuple[tuple[str, re.Pattern[str], Callable[..., Page]], ...] = tuple(
    (method, re.compile(PREFIX + path), respond)
    for method, path, respond in (
        ("GET", "health", Control.health),
        ("PUT", "script", Control.put_script),
        ("DELETE", "script", Control.delete_script),
        ("GET", "log", Control.get_log),
        ("DELETE", "log", Control.delete_log),
        ("GET", "calls/([^/]+)/([^/]+)", Control.get_call),
        ("PUT", "calls/([^/]+)/([^/]+)", Control.put_call),
        ("PUT", "accounts/([^/]+)", Control.put_account),
    )
)


def _script(scripts: Scripts, wanted: dict[str, Any]) -> None:
    """Takes over members that were read as `SCRIPT`."""
    scripts.seed = wanted.get("seed", scripts.seed)
    scripts.configure(wanted)
    for customer, behaviour in wanted.get("accounts", {}).items():
        scripts.account(customer, behaviour)
    for ucid, script in wanted.get("calls", {}).items():
        scripts.call(ucid, script)
    scripts.next(wanted.get("next", []))
    if "token" in wanted:
        scripts.token(wanted["token"])
