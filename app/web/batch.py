"""``/v1/dispositions/batch``: many at once. Each has its own result, in order; a bad one spoils no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.domain.errors import (
    BodyTooLarge,
    Fault,
    InvalidInput,
    MalformedBody,
    SlowBody,
    UnsupportedBody,
    WrapupError,
)
from app.domain.refusals import kind
from app.services.intake import Receipt
from app.services.keys import Caller
from app.web import examples
from app.web.auth import Submitter, Wired
from app.web.bodies import body_of, parse_json_object
from app.web.lines import read_lines
from app.web.problems import document_of, documented
from app.web.replies import JSON_OPTIONS, DuplexReply, JSONReply
from app.web.shapes import BatchOut
from app.wiring import Services

router = APIRouter(prefix="/v1/dispositions", tags=["dispositions"])

MOST = 1000
NDJSON = "application/x-ndjson"

# So many lines of a stream may be on their way into the database before the next one is read.
_AHEAD = 1000


def _lines(documents: Sequence[object]) -> str:
    return b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in documents).decode()


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/BatchIn"}},
            NDJSON: {
                "schema": {"type": "string", "description": "A `BatchItemIn` on each line."},
                "example": _lines(examples.BATCH_IN["dispositions"]),
            },
        },
    }
}
_RESULT_LINES = {
    "schema": {"type": "string", "description": "A `BatchResult` on each line."},
    "example": _lines(examples.BATCH_OUT["results"]),
}


@router.post(
    "/batch",
    response_model=BatchOut,
    openapi_extra=_BODY,
    responses={
        200: {"content": {NDJSON: _RESULT_LINES}},
        **documented(MalformedBody, SlowBody, BodyTooLarge, UnsupportedBody, InvalidInput),
    },
)
async def submit_batch(request: Request, services: Wired, caller: Submitter) -> Response:
    """Store up to 1,000 dispositions of one JSON body, or any number as NDJSON, answered line by line.

    Each result has the `status` that the disposition would have had alone (202, 200, 422, 503 …). An item may have an
    `idempotency_key`.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == NDJSON:
        return DuplexReply(_stream(request, services, caller), media_type=NDJSON)
    raw = await body_of(request, limit=services.settings.max_batch_bytes)
    begun = [await _begin(item, services, caller) for item in _items(parse_json_object(raw))]
    return JSONReply({"results": [_result(index, await answer) for index, answer in enumerate(begun)]})


def _items(body: dict[str, object]) -> list[object]:
    items = body.get("dispositions")
    if not isinstance(items, list) or body.keys() != {"dispositions"}:
        fault = 'The body must be {"dispositions": […]} and nothing else.'
        raise InvalidInput([Fault("dispositions", fault)])
    if not 1 <= len(items) <= MOST:
        fault = f"dispositions has {len(items)} items; send 1 to {MOST} in one body, or a stream as {NDJSON}."
        raise InvalidInput([Fault("dispositions", fault)])
    return items


async def _begin(item: object, services: Services, caller: Caller) -> Awaitable[Receipt | WrapupError]:
    if not isinstance(item, dict):
        # Under the name that a line of a stream has for it.
        return _refused(InvalidInput([Fault("body", f"a disposition must be a JSON object, not {kind(item)}")]))
    fields = dict(item)
    key = fields.pop("idempotency_key", None)
    if key is not None and not isinstance(key, str):
        return _refused(InvalidInput([Fault("idempotency_key", "idempotency_key must be a text.")]))
    return await services.intake.begin(fields, caller, idempotency_key=key)


def _refused(error: WrapupError) -> Awaitable[Receipt | WrapupError]:
    answer: asyncio.Future[Receipt | WrapupError] = asyncio.get_running_loop().create_future()
    answer.set_result(error)
    return answer


def _result(index: int, answer: Receipt | WrapupError) -> dict[str, Any]:
    if isinstance(answer, WrapupError):
        problem = document_of(answer)
        return {"index": index, "status": problem["status"], "problem": problem}
    return {
        "index": index,
        "status": 200 if answer.duplicate else 202,
        "id": answer.id,
        "state": answer.state,
        "account": answer.account,
        "ucid": answer.ucid,
        "duplicate": answer.duplicate,
    }


async def _stream(request: Request, services: Services, caller: Caller) -> AsyncIterator[bytes]:
    """Reads ahead of what is answered, so that many lines share a commit; answers in the order of the lines."""
    begun: asyncio.Queue[Awaitable[Receipt | WrapupError] | None] = asyncio.Queue(_AHEAD)

    async def read() -> None:
        settings = services.settings
        try:
            async for line in read_lines(
                request.stream(), longest=settings.max_body_bytes, patience=settings.body_timeout.total_seconds()
            ):
                try:
                    item = parse_json_object(line)
                except WrapupError as error:
                    await begun.put(_refused(error))
                else:
                    await begun.put(await _begin(item, services, caller))
        except WrapupError as error:
            await begun.put(_refused(error))  # of the stream itself: it is the last result
        finally:
            await begun.put(None)

    reading = asyncio.create_task(read())
    try:
        index = 0
        while (answer := await begun.get()) is not None:
            yield orjson.dumps(_result(index, await answer), option=JSON_OPTIONS | orjson.OPT_APPEND_NEWLINE)
            index += 1
    finally:
        reading.cancel()
