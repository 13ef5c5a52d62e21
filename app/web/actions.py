"""``/v1/dispositions/{id}/retry``, ``/resend`` and ``/cancel``: what an operator does to one disposition."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.domain.errors import (
    BodyTooLarge,
    InvalidInput,
    MalformedBody,
    NotFound,
    SlowBody,
    StateConflict,
    UnsupportedBody,
)
from app.domain.replays import read_reason
from app.web.accounts import Why
from app.web.auth import Operator, Wired
from app.web.models import read_model, read_object, takes
from app.web.problems import documented
from app.web.replies import JSONReply
from app.web.shapes import DispositionWhole

router = APIRouter(prefix="/v1/dispositions", tags=["dispositions"])

_ERRORS = documented(MalformedBody, SlowBody, BodyTooLarge, UnsupportedBody, InvalidInput, NotFound, StateConflict)
_TAKES_WHY = takes(Why, required=False)


@router.post(
    "/{disposition_id:uuid}/retry", response_model=DispositionWhole, openapi_extra=_TAKES_WHY, responses=_ERRORS
)
async def retry_disposition(disposition_id: UUID, request: Request, services: Wired, caller: Operator) -> Response:
    """Send a failed disposition again. Refused if a newer one of its call has come since: it would be overwritten."""
    why = await read_model(request, Why, required=False)
    await services.actions.retry(disposition_id, caller, reason=why.reason)
    return JSONReply(await services.reports.disposition(disposition_id, caller))


@router.post(
    "/{disposition_id:uuid}/cancel", response_model=DispositionWhole, openapi_extra=_TAKES_WHY, responses=_ERRORS
)
async def cancel_disposition(disposition_id: UUID, request: Request, services: Wired, caller: Operator) -> Response:
    """Take a waiting disposition back for good. What is on the wire can't be taken back."""
    why = await read_model(request, Why, required=False)
    await services.actions.cancel(disposition_id, caller, reason=why.reason)
    return JSONReply(await services.reports.disposition(disposition_id, caller))


@router.post(
    "/{disposition_id:uuid}/resend",
    status_code=201,
    response_model=DispositionWhole,
    openapi_extra=takes("Correction"),
    responses=_ERRORS,
)
async def resend_disposition(disposition_id: UUID, request: Request, services: Wired, caller: Operator) -> Response:
    """Send a corrected disposition in place of one that has ended. The old one stays as it was; each names the other.

    The body has the fields that were wrong, as they are right. A pause after disposing is left out, since it would come
    late, unless it is given anew.
    """
    changes = await read_object(request)
    reason = changes.pop("reason", None)
    said = None if reason is None else read_reason("reason", reason)
    new_id = await services.actions.resend(disposition_id, changes, caller, reason=said)
    new = await services.reports.disposition(new_id, caller)
    return JSONReply(new, 201, {"Location": f"/v1/dispositions/{new_id}"})
