"""The stream that tells an open page to read itself anew. It says that something has changed, and not what: what a page
shows is for the page's own route to decide."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from app.services.pulse import Pulse
from app.web.auth import Wired
from app.web.dashboard.routing import PageRoute
from app.web.dashboard.visitors import Viewer

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_QUIET_SECONDS = 15.0  # then a word, so that proxies keep the connection
_WORDS_MOST = 20  # of these. Then it ends and the browser comes again, if its session goes on


@router.get("/live")
async def live(request: Request, services: Wired, visitor: Viewer) -> Response:
    """Server-sent events. A browser that comes again says which mark it has seen."""
    seen = request.headers.get("last-event-id")
    return StreamingResponse(
        _events(services.pulse, seen), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


async def _events(pulse: Pulse, seen: str | None) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"  # milliseconds until it comes again
    async with pulse.watching():
        if seen is None:  # the page has just been read
            seen = await pulse.after(None, _QUIET_SECONDS)
            yield f"id: {seen}\nevent: seen\ndata:\n\n"
        for _ in range(_WORDS_MOST):
            if pulse.ending:
                return
            mark = await pulse.after(seen, _QUIET_SECONDS)
            yield f"id: {mark}\ndata: changed\n\n" if mark != seen else ": quiet\n\n"
            seen = mark
