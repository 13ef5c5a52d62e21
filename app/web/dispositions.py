"""``/v1/dispositions``: taking them in, and looking them up. The way of a disposition begins here."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.domain.cursor import PATTERN, parse_cursor
from app.domain.errors import (
    BodyTooLarge,
    InvalidInput,
    KeyReused,
    MalformedBody,
    NotFound,
    NotStored,
    SlowBody,
    UnsupportedBody,
)
from app.services.intake import Receipt
from app.services.keys import Scope
from app.web import examples, exports, filters
from app.web.auth import Reader, Wired, admit, security, services_of
from app.web.bodies import body_of, parse_body
from app.web.problems import documented
from app.web.replies import JSONReply
from app.web.shapes import IDEMPOTENCY_KEY, DispositionPage, DispositionSummary, DispositionWhole, ReceiptOut

router = APIRouter(prefix="/v1/dispositions", tags=["dispositions"])

# The key and the body are read and checked by our own code (`auth.py`, `bodies.py`, `domain/disposition.py`); this is
# for OpenAPI only.
_TAKES: dict[str, Any] = {
    "security": security(Scope.SUBMIT),
    "parameters": [
        {
            **IDEMPOTENCY_KEY,
            "description": "The same key with the same body again gives the original; kept for two days.",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            media: {"schema": {"$ref": "#/components/schemas/DispositionIn"}}
            for media in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
        },
    },
}


@router.post(
    "",
    status_code=202,
    response_model=ReceiptOut,
    openapi_extra=_TAKES,
    responses={
        200: {
            "model": ReceiptOut,
            "description": "It was stored before: a duplicate",
            "content": {"application/json": {"example": {**examples.RECEIPT, "duplicate": True}}},
        },
        **documented(MalformedBody, SlowBody, BodyTooLarge, UnsupportedBody, InvalidInput, KeyReused, NotStored),
    },
)
async def submit(request: Request) -> Response:
    """Store a disposition for delivery. 202 means that it is stored; 503 that it may not be: send it again."""
    caller = await admit(request, Scope.SUBMIT)
    services = services_of(request)
    fields = parse_body(await body_of(request), request.headers.get("content-type", ""))
    key = request.headers.get("idempotency-key")
    return _receipt_reply(await services.intake.accept(fields, caller, idempotency_key=key))


COLUMNS = tuple(DispositionSummary.model_fields)
"""Of a list as CSV."""

_CURSOR: dict[str, Any] = {"type": "string", "pattern": PATTERN}
_LIMIT: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}


@router.get(
    "",
    response_model=DispositionPage,
    openapi_extra={
        "parameters": [
            *filters.PARAMETERS,
            filters.parameter("cursor", _CURSOR, "`next` or `previous` of another page."),
            filters.parameter("limit", _LIMIT, "How many at most. A file has all, if it is left out."),
            filters.parameter("format", exports.SCHEMA, exports.ABOUT),
        ]
    },
    responses={200: {"content": exports.documented(examples.SUMMARY)}, **documented(InvalidInput)},
)
async def list_dispositions(request: Request, services: Wired, caller: Reader) -> Response:
    """Dispositions, newest first. Several values of a filter are alternatives; several filters all apply.

    A page stays what it is while new ones come. `total` is told where it is known without counting: for filters by
    state, cause and account."""
    rules = {"cursor": parse_cursor, "limit": filters.number(1, 1000), "format": exports.rule}
    wanted, values = filters.read_query(request, caller, rules)
    if "format" in values:
        found = services.reports.all(wanted, after=values.get("cursor"), limit=values.get("limit"))
        return await exports.as_file(found, COLUMNS, values["format"], "dispositions")
    page = await services.reports.page(wanted, after=values.get("cursor"), limit=values.get("limit", 100))
    return JSONReply(
        {
            "items": page.items,
            "next": page.next and str(page.next),
            "previous": page.previous and str(page.previous),
            "total": page.total,
            "partial": page.partial,
        }
    )


@router.get("/{disposition_id:uuid}", response_model=DispositionWhole, responses=documented(NotFound))
async def show_disposition(disposition_id: UUID, services: Wired, caller: Reader) -> Response:
    """One disposition with its attempts and events."""
    return JSONReply(await services.reports.disposition(disposition_id, caller))


def _receipt_reply(receipt: Receipt) -> JSONReply:
    return JSONReply(
        {
            "id": receipt.id,
            "state": receipt.state,
            "account": receipt.account,
            "ucid": receipt.ucid,
            "duplicate": receipt.duplicate,
        },
        200 if receipt.duplicate else 202,
        {"Location": f"/v1/dispositions/{receipt.id}"},
    )
