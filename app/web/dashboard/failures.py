"""Failures: grouped by what to fix, each with its owner and the next click."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from app.domain.corrections import MAPPABLE
from app.domain.failures import Owner
from app.storage.failures import Wanted
from app.web.auth import Wired
from app.web.dashboard.dispositions import wanted_by
from app.web.dashboard.rendering import render
from app.web.dashboard.routing import PageRoute
from app.web.dashboard.visitors import OperatorForm, Viewer

router = APIRouter(prefix="/failures", route_class=PageRoute, include_in_schema=False)

_SHOWN = 200
_SAMPLES = 20


@router.get("")
async def show_all(request: Request, services: Wired, visitor: Viewer) -> Response:
    """All failures: the open ones first, and of these the largest."""
    to_fix = await services.failures.all(Wanted(only_accounts=visitor.caller.accounts), limit=_SHOWN)
    found = [*map(visitor.sees_failure, to_fix.failures)]
    return render(
        request,
        "failures.html",
        holds=to_fix.holds,
        open=[one for one in found if not one["acknowledged"]],
        known=[one for one in found if one["acknowledged"]],
        total=to_fix.total,
        shown=len(found),
    )


@router.get("/{failure_id:uuid}")
async def show(failure_id: UUID, request: Request, services: Wired, visitor: Viewer) -> Response:
    """One failure, with what can be done about it."""
    one = await services.failures.get(failure_id, visitor.caller)
    conditions = {"failure": [str(failure_id)]}
    page = await services.reports.page(wanted_by(conditions, visitor), after=None, limit=_SAMPLES)
    return render(
        request,
        "failure.html",
        one=visitor.sees_failure(one),
        conditions=conditions,
        items=[*map(visitor.sees, page.items)],
        filter=urlencode(conditions, doseq=True),
        of_data=one["owner"] == Owner.DATA,
        mappable=MAPPABLE,
    )


@router.post("/{failure_id:uuid}/acknowledge")
async def acknowledge(failure_id: UUID, services: Wired, posted: OperatorForm) -> Response:
    """Somebody knows, and says what is done about it."""
    await services.failures.acknowledge(failure_id, posted.caller, note=posted.text("note"))
    return RedirectResponse(f"/failures/{failure_id}?said=acknowledged", 303)


@router.post("/{failure_id:uuid}/reopen")
async def reopen(failure_id: UUID, services: Wired, posted: OperatorForm) -> Response:
    """Open again."""
    await services.failures.reopen(failure_id, posted.caller, reason=posted.reason)
    return RedirectResponse(f"/failures/{failure_id}", 303)
