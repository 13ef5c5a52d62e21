"""Who looks at the pages: the session behind a request's cookie, the role that a page needs, and the proof that a form
was sent from a page of ours."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from app.domain.errors import MalformedBody, NotAllowed, NotAuthenticated
from app.domain.masking import masked, masked_failure, masked_order
from app.services.keys import Caller, Scope
from app.services.sessions import SignedIn
from app.services.users import Role, folded
from app.settings import Settings
from app.storage.events import came_from
from app.storage.users import User
from app.web.auth import services_of
from app.web.bodies import body_of
from app.web.forms import parse_form

# ``__Host-``: the browser takes and sends it over https only, for this very host. To browsers of today 127.0.0.1 and
# localhost are as good as https, so `wrapup up` works as it is (Chromium and Firefox; Safari wants https there, too).
COOKIE = "__Host-wrapup"

_ROLE_OF_SCOPE = {Scope.READ: Role.VIEWER, Scope.OPERATE: Role.OPERATOR, Scope.ADMIN: Role.ADMIN}


@dataclass(frozen=True, slots=True)
class Visitor:
    """A user who is signed in."""

    signed_in: SignedIn
    token: str

    @property
    def user(self) -> User:
        """Who it is."""
        return self.signed_in.user

    @property
    def caller(self) -> Caller:
        """The user as one who asks the services."""
        return self.signed_in.caller

    @property
    def form_token(self) -> str:
        """What every form carries."""
        return self.signed_in.form_token

    def sees(self, disposition: Mapping[str, Any]) -> Mapping[str, Any]:
        """A disposition as this user may see it: customers' numbers and agents' notes are not for viewers."""
        return disposition if self.sees_numbers else masked(disposition)

    def sees_failure(self, failure: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same of a failure."""
        return failure if self.operates else masked_failure(failure)

    def sees_replay(self, replay: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same of a replay: its filter and map may name numbers, and so may the reason for it."""
        return replay if self.operates else masked_order(replay)

    def sees_schedule(self, schedule: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same of what each run of a schedule does."""
        return {**schedule, "replay": self.sees_replay(schedule["replay"])}

    def sees_line(self, line: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same of a line of the audit trail: people write numbers into reasons."""
        return line if self.operates else {**line, "reason": None}

    @property
    def sees_numbers(self) -> bool:
        """True if customers' numbers are for them, to see and to look for."""
        return self.operates

    @property
    def operates(self) -> bool:
        """True if they may change what is under way."""
        return Scope.OPERATE in self.caller.scopes

    @property
    def manages(self) -> bool:
        """True if they may change settings and users."""
        return Scope.ADMIN in self.caller.scopes


@dataclass(frozen=True, slots=True)
class Posted:
    """A form that a visitor sent from a page of ours."""

    visitor: Visitor
    fields: Mapping[str, str]

    @property
    def caller(self) -> Caller:
        """Who sent it."""
        return self.visitor.caller

    @property
    def reason(self) -> str | None:
        """Why, if it was said."""
        return self.text("reason")

    def text(self, name: str) -> str | None:
        """A field, None if it was left empty."""
        return self.fields.get(name, "").strip() or None


async def visitor_of(request: Request) -> Visitor | None:
    """The user whose session the request's cookie is of, None if it has none that goes on."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    services = services_of(request)
    signed_in = await services.sessions.find(token)
    if signed_in is None:
        return None
    named = name_by_proxy(request, services.settings)
    if named is not None and folded(named) != signed_in.user.name:
        return None  # somebody else sits at this browser now
    return Visitor(signed_in, token)


def _needing(scope: Scope) -> Callable[[Request], Awaitable[Visitor]]:
    async def visitor(request: Request) -> Visitor:
        found = await visitor_of(request)
        if found is None:
            raise NotAuthenticated("Sign in first.")
        request.state.visitor = found  # for the frame around the page
        if scope not in found.caller.scopes:
            raise NotAllowed(
                f"This is for the role {_ROLE_OF_SCOPE[scope].value}, and yours is {found.user.role}. "
                "Ask an admin of Wrapup."
            )
        return found

    return visitor


def _posting(scope: Scope) -> Callable[[Request], Awaitable[Posted]]:
    admitted = _needing(scope)

    async def posted(request: Request) -> Posted:
        visitor = await admitted(request)
        coming_from(request)
        fields = await form_of(request)
        if not hmac.compare_digest(fields.get("form_token", "").encode(), visitor.form_token.encode()):
            raise NotAllowed(
                "This form is too old: you have signed in again since. Go back, reload the page, try again."
            )
        return Posted(visitor, fields)

    return posted


Viewer = Annotated[Visitor, Depends(_needing(Scope.READ))]
Operator = Annotated[Visitor, Depends(_needing(Scope.OPERATE))]
Admin = Annotated[Visitor, Depends(_needing(Scope.ADMIN))]

ViewerForm = Annotated[Posted, Depends(_posting(Scope.READ))]
OperatorForm = Annotated[Posted, Depends(_posting(Scope.OPERATE))]
AdminForm = Annotated[Posted, Depends(_posting(Scope.ADMIN))]


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that comes from a page of ours. Raises ``NotAllowed`` for one from elsewhere."""
    _check_origin(request)
    raw = await body_of(request)
    fields = parse_form(raw, request.headers.get("content-type", ""))
    if not all(isinstance(value, str) for value in fields.values()):
        raise MalformedBody("The form holds something that is not text.")
    return {name: str(value) for name, value in fields.items()}


def _check_origin(request: Request) -> None:
    """Browsers say where a form comes from. It is a second lock, and the only one on the sign-in form, which has no
    session yet: nobody is to be signed in as somebody else without noticing."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        trusted = site in ("same-origin", "none")
    else:
        trusted = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not trusted:
        raise NotAllowed("This form was sent from another site. Open the page here and try again.")


def is_trusted_proxy(address: str, settings: Settings) -> bool:
    """True if what this address says in its headers is believed."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in settings.trusted_proxies)


def address_of(request: Request) -> str:
    """Where the request comes from: the last address on its way that is no proxy of ours."""
    settings = services_of(request).settings
    address = request.client.host if request.client else ""
    for earlier in reversed(request.headers.get("x-forwarded-for", "").split(",")):
        if not is_trusted_proxy(address, settings) or not earlier.strip():
            break
        address = earlier.strip()
    return address


def coming_from(request: Request) -> str:
    """The same, and the audit trail has it for whatever this request does."""
    address = address_of(request)
    came_from.set(address)
    return address


def name_by_proxy(request: Request, settings: Settings) -> str | None:
    """The user whom a trusted proxy has signed in. Nobody else's header counts."""
    if settings.sign_in_header is None or request.client is None:
        return None
    if not is_trusted_proxy(request.client.host, settings):
        return None
    return request.headers.get(settings.sign_in_header, "").strip() or None


def remember(response: Response, token: str, max_age: float) -> Response:
    """Gives the browser the session's token to keep, for ``max_age`` seconds."""
    response.set_cookie(COOKIE, token, max_age=int(max_age), path="/", secure=True, httponly=True, samesite="lax")
    return response


def forget(response: Response) -> Response:
    """Takes it away again."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response
