"""Signing in and out, and one's own password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from app.domain.errors import InvalidInput, NotAuthenticated, RateLimited, StateConflict
from app.secrets import Secret
from app.web.auth import Wired, services_of
from app.web.dashboard.rendering import render
from app.web.dashboard.routing import PageRoute
from app.web.dashboard.visitors import (
    Viewer,
    ViewerForm,
    coming_from,
    forget,
    form_of,
    name_by_proxy,
    remember,
    visitor_of,
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_LONGEST_WAY_BACK = 2000


def way_back(wanted: str) -> str:
    """Where to go after signing in: a page of ours, whatever stands in the address. Browsers take ``//host`` and
    ``/\\host`` for another site, and pass over control characters."""
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if ours and len(wanted) <= _LONGEST_WAY_BACK and not wanted.startswith("/sign-in") else "/"


@router.get("/sign-in")
async def show(request: Request, services: Wired, next_: Annotated[str, Query(alias="next")] = "/") -> Response:
    """The form; or straight on for whom a trusted proxy has signed in, and for whom has a session already."""
    back = way_back(next_)
    if await visitor_of(request) is not None:
        return RedirectResponse(back, 303)
    if (name := name_by_proxy(request, services.settings)) is not None:
        try:
            token = await services.sessions.sign_in_by_proxy(name, address=coming_from(request))
        except NotAuthenticated as refused:
            return _form(request, back, str(refused), 403)
        return _enter(request, back, token)
    return _form(request, back)


@router.post("/sign-in")
async def sign_in(request: Request, services: Wired) -> Response:
    """By name and password."""
    fields = await form_of(request)
    back, name = way_back(fields.get("next", "")), fields.get("name", "")
    password = Secret(fields.pop("password", ""))
    try:
        token = await services.sessions.sign_in(name, password, address=coming_from(request))
    except NotAuthenticated as refused:
        return _form(request, back, str(refused), 401, name=name)
    except RateLimited as refused:
        page = _form(request, back, str(refused), 429, name=name)
        page.headers["Retry-After"] = str(refused.retry_after)
        return page
    return _enter(request, back, token)


@router.get("/sign-in/link")
async def open_link(request: Request, token: Annotated[str, Query(max_length=100)] = "") -> Response:
    """A sign-in link. Opened by a person it works at once; what else looks at addresses (a chat's preview, a virus
    scanner, a page elsewhere that forwards to it) gets a button, and does not use the link up."""
    by_a_person = (
        request.headers.get("sec-fetch-dest") == "document"
        and request.headers.get("sec-fetch-site") in ("none", "same-origin")
        and "sec-purpose" not in request.headers
    )
    if by_a_person:
        return await _use_link(request, token)
    return render(request, "sign_in_link.html", token=token)


@router.post("/sign-in/link")
async def use_link(request: Request) -> Response:
    """The button of a sign-in link's page."""
    return await _use_link(request, (await form_of(request)).get("token", ""))


@router.post("/sign-out")
async def sign_out(services: Wired, posted: ViewerForm) -> Response:
    """Ends the session."""
    await services.sessions.sign_out(posted.visitor.token)
    return forget(RedirectResponse("/sign-in", 303))


@router.get("/me")
async def me(request: Request, visitor: Viewer) -> Response:
    """One's own name, role and password."""
    return render(request, "me.html")


@router.post("/me/password")
async def change_password(request: Request, services: Wired, posted: ViewerForm) -> Response:
    """Changes one's own password; all other sessions end."""
    user, old, new = posted.visitor.user, *(Secret(posted.fields.get(name, "")) for name in ("old", "new"))
    if posted.fields.get("again") != posted.fields.get("new"):
        return render(request, "me.html", status=422, faults=["The two new passwords differ. Type the same one twice."])
    try:
        token = await services.sessions.change_password(user, old, new, address=coming_from(request))
    except (InvalidInput, RateLimited, StateConflict) as refused:
        return render(request, "me.html", status=422, faults=[str(refused)])
    return _enter(request, "/me?said=password", token)


async def _use_link(request: Request, link: str) -> Response:
    try:
        token = await services_of(request).sessions.sign_in_by_link(link, address=coming_from(request))
    except NotAuthenticated as refused:
        return _form(request, "/", str(refused), 401)
    return _enter(request, "/", token)


def _enter(request: Request, where: str, token: str) -> Response:
    lifetime = services_of(request).sessions.lifetime
    return remember(RedirectResponse(where, 303), token, lifetime.total_seconds())


def _form(request: Request, back: str, fault: str | None = None, status: int = 200, *, name: str = "") -> Response:
    return render(
        request, "sign_in.html", status=status, back=back, fault=fault, name=name, loses_cookies=_loses_cookies(request)
    )


def _loses_cookies(request: Request) -> bool:
    """True where a browser will not keep the session: over plain http, but for this very machine. It sends no
    ``Sec-Fetch`` headers there, nor does a proxy that speaks https say so."""
    safe = "sec-fetch-site" in request.headers or request.headers.get("x-forwarded-proto") == "https"
    return not safe and "mozilla" in request.headers.get("user-agent", "").lower()
