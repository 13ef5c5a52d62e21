"""Users: who may come in, and as what. For admins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import RedirectResponse, Response

from app.domain.errors import InvalidInput
from app.services.keys import NAME_PATTERN
from app.services.users import Role, link_path
from app.web.auth import Wired
from app.web.dashboard.rendering import render
from app.web.dashboard.routing import PageRoute
from app.web.dashboard.visitors import Admin, AdminForm
from app.wiring import Services

router = APIRouter(prefix="/users", route_class=PageRoute, include_in_schema=False)

Name = Annotated[str, Path(pattern=f"^{NAME_PATTERN}$")]


@router.get("")
async def show(request: Request, services: Wired, visitor: Admin) -> Response:
    """All users, and the form for one more."""
    return await _page(request, services)


@router.post("")
async def add(request: Request, services: Wired, posted: AdminForm) -> Response:
    """One more, and a link that signs them in."""
    name, role = posted.text("name") or "", posted.text("role") or ""
    try:
        user = await services.users.create(name, role, actor=posted.caller.actor)
    except InvalidInput as refused:
        faults = [fault.message for fault in refused.faults]
        return await _page(request, services, status=422, faults=faults, typed={"name": name, "role": role})
    return await _with_link(request, services, user.name, posted.caller.actor)


@router.post("/{name}/link")
async def link(name: Name, request: Request, services: Wired, posted: AdminForm) -> Response:
    """A link that signs one in. The page that shows it has no address of its own: it is shown once."""
    return await _with_link(request, services, name, posted.caller.actor)


@router.post("/{name}/role")
async def set_role(name: Name, services: Wired, posted: AdminForm) -> Response:
    """What one may do."""
    await services.users.set_role(name, posted.text("role") or "", actor=posted.caller.actor)
    return RedirectResponse("/users?said=role", 303)


@router.post("/{name}/disable")
async def disable(name: Name, services: Wired, posted: AdminForm) -> Response:
    """No access any more."""
    await services.users.disable(name, actor=posted.caller.actor, reason=posted.reason)
    return RedirectResponse("/users?said=disabled", 303)


@router.post("/{name}/enable")
async def enable(name: Name, services: Wired, posted: AdminForm) -> Response:
    """Access again."""
    await services.users.enable(name, actor=posted.caller.actor, reason=posted.reason)
    return RedirectResponse("/users?said=enabled", 303)


async def _with_link(request: Request, services: Services, name: str, actor: str) -> Response:
    token = await services.users.link(name, actor=actor)
    here = request.headers.get("origin") or str(request.base_url).rstrip("/")  # as the browser sees us: by https
    return await _page(request, services, link=here + link_path(token), link_for=name)


async def _page(
    request: Request,
    services: Services,
    *,
    status: int = 200,
    faults: list[str] | None = None,
    typed: Mapping[str, str] | None = None,
    link: str | None = None,
    link_for: str = "",
) -> Response:
    return render(
        request,
        "users.html",
        status=status,
        users=await services.users.all(),
        roles=list(Role),
        faults=faults or [],
        typed=typed or {"name": "", "role": Role.VIEWER},
        link=link,
        link_for=link_for,
    )
