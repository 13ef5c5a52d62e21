"""The audit trail: who did what to which thing, when, from where, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from app.domain.errors import InvalidInput
from app.services.audit import Lines
from app.web import exports
from app.web.audit import COLUMNS, read_wanted
from app.web.auth import Wired
from app.web.dashboard.dispositions import clean, grouped
from app.web.dashboard.rendering import address, render
from app.web.dashboard.routing import PageRoute
from app.web.dashboard.visitors import Viewer

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_PAGE_SIZE = 100

_PLACES = {"account": "/accounts/", "failure": "/failures/", "replay": "/replays/", "schedule": "/schedules/"}
"""Where a thing has a page, by the kind that stands before its name."""


@router.get("/audit")
async def show(request: Request, services: Wired, visitor: Viewer) -> Response:
    """The lines that the filter in the address takes, newest first."""
    asked = request.query_params.multi_items()
    if (cleaned := clean(asked, ZoneInfo(services.settings.time_zone))) != asked:
        return RedirectResponse(address("/audit", grouped(cleaned)), 303)
    conditions = {name: values for name, values in grouped(asked).items() if name != "cursor"}
    lines, faults = Lines([], None), []
    try:
        wanted, values = read_wanted(request, visitor.caller)
        lines = await services.audit.page(wanted, after=values.get("cursor"), limit=_PAGE_SIZE)
    except InvalidInput as refused:
        faults = [fault.message for fault in refused.faults]
    return render(
        request,
        "audit.html",
        status=422 if faults else 200,
        faults=faults,
        lines=[_line(line) for line in map(visitor.sees_line, lines.items)],
        first=lambda name: conditions.get(name, [""])[0],
        accounts=[one.customer for one in await services.accounts.all() if visitor.caller.owns(one.customer)],
        filter=urlencode(conditions, doseq=True),
        older=None if lines.next is None else address("/audit", conditions, cursor=lines.next),
        empty=not conditions,
    )


@router.get("/audit.{kind}")
async def give_file(kind: exports.Format, request: Request, services: Wired, visitor: Viewer) -> Response:
    """All lines that the filter in the address takes, as a file; for viewers without why."""
    wanted, _ = read_wanted(request, visitor.caller)
    return await exports.as_file(services.audit.all(wanted), COLUMNS, kind, "audit", seen=visitor.sees_line)


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line with what it is about, and where that has a page."""
    if line["disposition"]:
        return {**line, "about": str(line["disposition"]), "where": f"/dispositions/{line['disposition']}"}
    kind, _, name = (line["subject"] or "").partition(":")
    where = f"{_PLACES[kind]}{quote(name, safe='')}" if kind in _PLACES else None
    return {**line, "about": f"{kind} {name}".strip(), "where": where}
