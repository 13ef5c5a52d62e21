"""``/v1/dispositions``: taking them in, and looking them up. The way of a disposition begins here."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.domain.errors import (
    BodyTooLarge,
    Fault,
    InvalidInput,
    KeyReused,
    MalformedBody,
    NotFound,
    NotStored,
    SlowBody,
    UnsupportedBody,
)
from app.domain.lifecycle import State
from app.services.intake import Receipt
from app.services.keys import Scope
from app.storage.reports import Filter
from app.web import examples
from app.web.auth import Reader, Wired, admit, security, services_of
from app.web.bodies import body_of, parse_body
from app.web.problems import documented
from app.web.replies import JSONReply
from app.web.shapes import DispositionPage, DispositionWhole, Instant, ReceiptOut, Word

router = APIRouter(prefix="/v1/dispositions", tags=["dispositions"])

# The key and the body are read and checked by our own code (`auth.py`, `bodies.py`, `domain/disposition.py`); this is
# for OpenAPI only.
_TAKES: dict[str, Any] = {
    "security": security(Scope.SUBMIT),
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
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


@router.get("", response_model=DispositionPage, responses=documented(InvalidInput))
async def list_dispositions(  # one parameter for each filter: that is what OpenAPI shows
    services: Wired,
    caller: Reader,
    state: Annotated[list[State], Query()] = [],  # noqa: B006  # FastAPI copies it
    cause: Annotated[list[Word], Query()] = [],  # noqa: B006
    account: Annotated[list[Word], Query()] = [],  # noqa: B006
    ucid: Annotated[list[Word], Query()] = [],  # noqa: B006
    agent_id: Annotated[list[Word], Query()] = [],  # noqa: B006
    did: Annotated[list[Word], Query()] = [],  # noqa: B006
    disposition: Annotated[list[Word], Query()] = [],  # noqa: B006
    source: Annotated[list[Word], Query()] = [],  # noqa: B006
    reference: Annotated[list[Word], Query()] = [],  # noqa: B006
    since: Annotated[Instant | None, Query(alias="from")] = None,
    until: Annotated[Instant | None, Query(alias="to")] = None,
    cursor: Annotated[UUID | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Dispositions, newest first. Several values of a filter are alternatives; several filters all apply."""
    _check_window(since, until)
    wanted = Filter(
        states=state,
        causes=cause,
        accounts=account,
        ucids=ucid,
        agent_ids=agent_id,
        dids=did,
        dispositions=disposition,
        sources=source,
        references=reference,
        since=since,
        until=until,
        only_accounts=caller.accounts,
    )
    page = await services.reports.page(wanted, after=cursor, limit=limit)
    return JSONReply({"items": page.items, "next": page.next})


@router.get("/{disposition_id:uuid}", response_model=DispositionWhole, responses=documented(NotFound))
async def show_disposition(disposition_id: UUID, services: Wired, caller: Reader) -> Response:
    """One disposition with its attempts and events."""
    return JSONReply(await services.reports.disposition(disposition_id, caller))


def _check_window(since: datetime | None, until: datetime | None) -> None:
    if since is not None and until is not None and since >= until:
        raise InvalidInput([Fault("to", f"to, {until.isoformat()}, is not after from, {since.isoformat()}.")])


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
