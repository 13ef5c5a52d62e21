"""Replays: one action on all that match. First it is counted and frozen; what is confirmed then is what is done."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import APIRouter, Query, Request
from sqlalchemy import Row
from starlette.responses import RedirectResponse, Response

from app.domain.errors import Fault, InvalidInput
from app.domain.replays import MEANINGS, ReplayState, Result
from app.services.replays import read_request, summary
from app.web.auth import Wired
from app.web.dashboard.dispositions import grouped, wanted_by
from app.web.dashboard.rendering import address, render
from app.web.dashboard.routing import PageRoute
from app.web.dashboard.visitors import OperatorForm, Posted, Viewer

router = APIRouter(prefix="/replays", route_class=PageRoute, include_in_schema=False)

_PAGE_SIZE = 50
_ENDED = (Result.SKIPPED, Result.DELIVERED, Result.FAILED, Result.SUPERSEDED, Result.CANCELLED)


@router.get("")
async def show_all(
    request: Request, services: Wired, visitor: Viewer, cursor: Annotated[UUID | None, Query()] = None
) -> Response:
    """All replays, newest first."""
    found, following = await services.replays.page(visitor.caller, after=cursor, limit=_PAGE_SIZE)
    older = address("/replays", cursor=following) if following else None
    return render(request, "replays.html", replays=[visitor.sees_replay(_shown(one)) for one in found], older=older)


@router.post("")
async def draft(services: Wired, posted: OperatorForm) -> Response:
    """Counts and freezes what a filter takes, for a look before anything is done."""
    asked = read_request(_order(posted), posted.caller)
    receipt = await services.replays.create(asked, posted.caller)
    return RedirectResponse(f"/replays/{receipt.replay.id}", 303)


@router.get("/{replay_id:uuid}")
async def show(
    replay_id: UUID,
    request: Request,
    services: Wired,
    visitor: Viewer,
    result: Annotated[list[Result], Query()] = [],  # noqa: B006  # FastAPI copies it
    after: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """One replay: what it would do, or how it goes."""
    replay = visitor.sees_replay(_shown(await services.replays.get(replay_id, visitor.caller)))
    items, following = await services.replays.items(replay_id, results=result, after=after, limit=_PAGE_SIZE)
    ids = [str(item.disposition_id) for item in items]
    known = await services.reports.page(wanted_by({"id": ids}, visitor), after=None, limit=_PAGE_SIZE) if ids else None
    here = f"/replays/{replay_id}"
    return render(
        request,
        "replay.html",
        one=replay,
        items=items,
        about={one["id"]: one for one in known.items} if known else {},
        meanings=MEANINGS,
        results=list(Result),
        chosen=result,
        older=address(here, {"result": result or None}, after=following) if following else None,
        reason_is_needed=_reason_is_needed(replay["total"]),
    )


@router.post("/{replay_id:uuid}/start")
async def start(replay_id: UUID, services: Wired, posted: OperatorForm) -> Response:
    """Does what was counted."""
    replay = await services.replays.get(replay_id, posted.caller)
    if posted.reason is None and _reason_is_needed(replay.total):
        raise InvalidInput([Fault("reason", f"Say why: {replay.total:,} dispositions are touched at once.")])
    await services.mending.start(replay_id, posted.caller, reason=posted.reason)
    return RedirectResponse(f"/replays/{replay_id}?said=started", 303)


@router.post("/{replay_id:uuid}/cancel")
async def cancel(replay_id: UUID, services: Wired, posted: OperatorForm) -> Response:
    """Ends it. What is sent is sent."""
    await services.replays.cancel(replay_id, posted.caller, reason=posted.reason)
    return RedirectResponse(f"/replays/{replay_id}?said=stopped", 303)


def _order(posted: Posted) -> dict[str, object]:
    """What the form asks for, as the API's JSON does. The filter comes as it stands in the address of a list."""
    order: dict[str, object] = {
        "filter": grouped(parse_qsl(posted.fields.get("filter", ""))),
        "action": posted.text("action"),
        "start": False,
    }
    if (field := posted.text("field")) is not None:
        order["map"] = {field: {posted.fields.get("wrong", ""): posted.text("right")}}
    if posted.text("extend_max_age"):
        order["extend_max_age"] = True
    return order


def _reason_is_needed(items: int) -> bool:
    """People say why as soon as they touch more than one. A cron job may send failed ones again without a word."""
    return items > 1


def _shown(replay: Row[Any]) -> dict[str, Any]:
    shown = summary(replay)
    shown["ended"] = sum(shown[result.value] for result in _ENDED)
    shown["some_failed"] = shown["state"] == ReplayState.DONE and shown["failed"] > 0
    shown["is_draft"] = shown["state"] == ReplayState.DRAFT
    shown["runs"] = shown["state"] == ReplayState.RUNNING
    return shown
