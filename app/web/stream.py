"""``/v1/stream``: changes of state as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from app.domain.errors import InvalidInput
from app.domain.refusals import quoted, refusal
from app.services.keys import Caller
from app.services.stream import Change, Missed, Stream
from app.web import examples
from app.web.auth import Reader, Wired
from app.web.problems import documented
from app.web.protocol import STOPPING
from app.web.replies import JSON_OPTIONS
from app.wiring import Services

router = APIRouter(tags=["stream"])

_HEARTBEAT = 15.0  # seconds: proxies close what is silent, and a viewer that is gone is noticed
_LONGEST = 600.0  # seconds: then the viewer comes again, and its key is looked at again

_LOOK = 1.0  # seconds: so soon a viewer notices that this process stops

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

_LAST_EVENT_ID: dict[str, Any] = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
    "description": "The `id` of the last event that was seen. Browsers send it by themselves.",
}


@router.get(
    "/v1/stream",
    response_class=StreamingResponse,
    openapi_extra={"parameters": [_LAST_EVENT_ID]},
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "example": examples.STREAM}}},
        **documented(InvalidInput),
    },
)
async def watch(request: Request, services: Wired, caller: Reader) -> Response:
    """Changes of dispositions and accounts as they happen, as server-sent events.

    `change` is a line of the audit trail. `missed` says that there was more than could be sent: look at the list again.
    With `Last-Event-ID` it goes on where it was. It ends by itself after ten minutes; browsers come again."""
    return await reply(request, services, caller)


async def reply(request: Request, services: Services, caller: Caller) -> Response:
    """The stream of what is the caller's. Raises ``InvalidInput``."""
    after = _number(request.headers.get("last-event-id"))
    stopping = request.scope.get(STOPPING) or asyncio.Event()
    return StreamingResponse(
        _events(services.stream, caller, after, stopping), media_type="text/event-stream", headers=_HEADERS
    )


async def _events(stream: Stream, caller: Caller, after: int | None, stopping: asyncio.Event) -> AsyncIterator[bytes]:
    """The events of a viewer, until this process stops or it has been long enough."""
    begun = silent_since = time.monotonic()
    async with stream.watch(caller, after) as viewer:
        yield b"retry: 2000\n\n"
        while not stopping.is_set() and time.monotonic() - begun < _LONGEST:
            if taken := await viewer.take(_LOOK):
                yield b"".join(map(_event, taken))
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since >= _HEARTBEAT:
                yield b": still here\n\n"
                silent_since = time.monotonic()


def _event(one: Change | Missed) -> bytes:
    if isinstance(one, Missed):
        return b"id: %d\nevent: missed\ndata: {}\n\n" % one.number
    data = orjson.dumps(one.fields, option=JSON_OPTIONS)  # one line, whatever is in it
    return b"id: %d\nevent: change\ndata: %b\n\n" % (one.number, data)


def _number(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise refusal("Last-Event-ID", f"is {quoted(text)}; it must be the id of an event, as it came")
    return int(text)
