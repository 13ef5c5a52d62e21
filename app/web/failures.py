"""``/v1/failures``: what there is to mend, whose it is, and what to do next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.domain.errors import BodyTooLarge, InvalidInput, MalformedBody, NotFound, SlowBody, UnsupportedBody
from app.domain.failures import Owner, Thing
from app.domain.filters import LONGEST_WORD
from app.storage.failures import Wanted
from app.web import examples, exports
from app.web.accounts import Why
from app.web.auth import Operator, Reader, Wired
from app.web.filters import no_other_parameters
from app.web.models import read_model, takes
from app.web.problems import documented
from app.web.replies import JSONReply
from app.web.shapes import NO_NUL, Reason

router = APIRouter(prefix="/v1/failures", tags=["failures"])


class Note(BaseModel):
    """What whoever has seen it says about it."""

    model_config = ConfigDict(extra="forbid")

    note: Reason = None


class FailureOut(BaseModel):
    """Failed dispositions that one correction would mend."""

    id: UUID
    account: str
    cause: str
    thing: Thing = Field(description="What there is to fix; where it is a field of the disposition, its name.")
    value: str = Field(description="Of that thing: which agent, which code.")
    count: int
    owner: Owner = Field(description="Who can mend it.")
    hint: str = Field(description="What to do next, in one sentence.")
    since: datetime = Field(description="The first one failed then.")
    last_at: datetime = Field(description="The last one failed then.")
    sources: list[str] = Field(description="Who sent them: the source, else the client. The first twenty.")
    sample: UUID | None = Field(description="The newest of them.")
    reply: str | None = Field(description="CloudAgent's words to that one.")
    acknowledged: bool = Field(description="Somebody knows. It ends when another one fails in the same way.")
    acknowledged_at: datetime | None
    acknowledged_by: str | None = Field(description="Who did so last.")
    note: str | None


class HoldOut(BaseModel):
    """An account whose deliveries stand still."""

    account: str
    cause: str
    reason: str | None
    held_at: datetime
    waiting: int = Field(description="Dispositions that go out once it is released.")
    owner: Owner
    hint: str


class FailureList(BaseModel):
    """What there is to mend: open ones first, and of these the largest."""

    items: list[FailureOut]
    total: int = Field(description="Of all that the filters take.")
    holds: list[HoldOut]


Words = Annotated[list[Annotated[str, Field(max_length=LONGEST_WORD, pattern=NO_NUL)]], Query()]

_BODY_ERRORS = (MalformedBody, SlowBody, BodyTooLarge, UnsupportedBody, InvalidInput, NotFound)


COLUMNS = tuple(FailureOut.model_fields)
"""Of what there is to mend as CSV."""


@router.get(
    "",
    response_model=FailureList,
    responses={200: {"content": exports.documented(examples.FAILURE)}, **documented(InvalidInput)},
    dependencies=[Depends(no_other_parameters)],
)
async def list_failures(
    services: Wired,
    caller: Reader,
    account: Words = [],  # noqa: B006  # FastAPI copies it
    cause: Words = [],  # noqa: B006
    acknowledged: Annotated[bool | None, Query(description="Only those that are, or are not.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    kind: Annotated[exports.Format | None, Query(alias="format", description=exports.ABOUT)] = None,
) -> Response:
    """What failed, by account, cause and the thing to fix, each with its owner and the next step. It costs the same at
    any number of dispositions."""
    wanted = Wanted(accounts=account, causes=cause, acknowledged=acknowledged, only_accounts=caller.accounts)
    found = await services.failures.all(wanted, limit=limit)
    if kind is not None:
        return await exports.as_file(_each(found.failures), COLUMNS, kind, "failures")
    return JSONReply({"items": found.failures, "total": found.total, "holds": found.holds})


async def _each(failures: Sequence[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    for one in failures:
        yield one


@router.get("/{failure_id:uuid}", response_model=FailureOut, responses=documented(NotFound))
async def show_failure(failure_id: UUID, services: Wired, caller: Reader) -> Response:
    """One failure. Its dispositions: `/v1/dispositions?failure=` with its id."""
    return JSONReply(await services.failures.get(failure_id, caller))


@router.post(
    "/{failure_id:uuid}/acknowledge",
    response_model=FailureOut,
    openapi_extra=takes(Note, required=False),
    responses=documented(*_BODY_ERRORS),
)
async def acknowledge_failure(failure_id: UUID, request: Request, services: Wired, caller: Operator) -> Response:
    """Say that it is known, with a note. It is open again when another disposition fails in the same way."""
    sent = await read_model(request, Note, required=False)
    return JSONReply(await services.failures.acknowledge(failure_id, caller, note=sent.note))


@router.post(
    "/{failure_id:uuid}/reopen",
    response_model=FailureOut,
    openapi_extra=takes(Why, required=False),
    responses=documented(*_BODY_ERRORS),
)
async def reopen_failure(failure_id: UUID, request: Request, services: Wired, caller: Operator) -> Response:
    """Take the acknowledgement back."""
    why = await read_model(request, Why, required=False)
    return JSONReply(await services.failures.reopen(failure_id, caller, reason=why.reason))
