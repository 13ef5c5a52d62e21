"""``/v1/replays``: one action on all dispositions that a filter takes, planned, started, watched, cancelled."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field, WithJsonSchema
from sqlalchemy import Row
from starlette.responses import Response

from app.domain.corrections import MAPPABLE
from app.domain.errors import (
    BodyTooLarge,
    InvalidInput,
    KeyReused,
    MalformedBody,
    NotFound,
    SlowBody,
    StateConflict,
    UnsupportedBody,
)
from app.domain.replays import (
    DEFAULT_MOST_ITEMS,
    DEFAULT_RATE,
    HIGHEST_RATE,
    LONGEST_REASON,
    LOWEST_RATE,
    MEANINGS,
    MOST_ITEMS,
    Action,
    ReplayState,
    Result,
)
from app.services.replays import Plan, read_request, summary
from app.web import replay_examples
from app.web.accounts import Why
from app.web.auth import Operator, Reader, Wired
from app.web.filters import SCHEMA, no_other_parameters
from app.web.models import read_model, read_object, takes
from app.web.problems import documented
from app.web.replies import JSONReply
from app.web.shapes import IDEMPOTENCY_KEY

router = APIRouter(prefix="/v1/replays", tags=["replays"])

FilterSchema = Annotated[dict[str, Any], WithJsonSchema(dict(SCHEMA))]
MapSchema = Annotated[
    dict[str, dict[str, str]],
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": False,
            "minProperties": 1,
            "properties": {
                name: {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}
                for name in MAPPABLE
            },
        }
    ),
]


class OrderIn(BaseModel):
    """What is to be done with which dispositions, and how fast."""

    model_config = {"json_schema_extra": {"additionalProperties": False}}

    filter: FilterSchema = Field(description="Which dispositions. An empty one is refused.")
    action: Action | None = Field(
        None,
        description="`retry` (if nothing is said) sends failed ones again; `cancel` takes waiting ones back; `resend` "
        "makes a corrected one of each failed one.",
    )
    map: MapSchema | None = Field(None, description="For `resend`: field, wrong value, right value.")
    rate_per_second: float | None = Field(
        None,
        ge=LOWEST_RATE,
        le=HIGHEST_RATE,
        description=f"At most so many a second, {DEFAULT_RATE:g} if nothing is said. Live traffic goes first.",
    )
    max_items: int | None = Field(
        None, ge=1, le=MOST_ITEMS, description=f"The oldest so many, {DEFAULT_MOST_ITEMS} if nothing is said."
    )
    extend_max_age: bool | None = Field(
        None, description="Also those beyond their maximum age; each gets its whole age anew."
    )
    stop_share: float | None = Field(
        None, gt=0, le=1, description="It stops when more than this share of its items failed again; 0.5."
    )
    stop_after: int | None = Field(
        None, ge=1, le=MOST_ITEMS, description="The share is looked at when so many have come to an end; 50."
    )
    reason: str | None = Field(
        None,
        max_length=LONGEST_REASON,
        description="Why. Needed to cancel or resend more than one. It is kept in the audit trail.",
    )


class ReplayIn(OrderIn):
    """A replay to plan, to draft, or to start."""

    dry_run: bool | None = Field(None, description="Only tell what would be done.")
    start: bool | None = Field(
        None, description="false: freeze the items and wait for `/start`, so that what was counted can be confirmed."
    )


class PlanOut(BaseModel):
    """What a replay would do now."""

    eligible: int
    left_out: dict[str, int] = Field(description="How many of those that match can't be done, by why.")
    samples: dict[str, list[UUID]] = Field(description="Up to five ids of each kind.")
    meanings: dict[str, str] = Field(description="What each why means.")


class ReplayOut(BaseModel):
    """A replay as it stands. From `waiting` to `cancelled` its items are counted."""

    id: UUID
    action: Action
    state: ReplayState
    actor: str
    reason: str | None
    filter: FilterSchema
    map: dict[str, dict[str, str]]
    rate_per_second: float
    max_items: int
    extend_max_age: bool
    stop_share: float
    stop_after: int
    left_out: dict[str, int]
    total: int
    waiting: int
    skipped: int
    sent: int = Field(description="On their way.")
    delivered: int
    failed: int = Field(description="Again.")
    superseded: int
    cancelled: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None = Field(description="Nothing more was sent from then on.")
    settled_at: datetime | None = Field(description="All that was sent had come to its final state.")
    schedule_id: UUID | None


class ItemOut(BaseModel):
    """What became of one item."""

    position: int
    disposition_id: UUID
    result: Result
    why: str | None = Field(description="Why it was skipped, or failed again.")
    sent_id: UUID | None = Field(description="The disposition that was sent: itself, or the corrected one.")
    at: datetime | None


class ReplayWhole(ReplayOut):
    """A replay with a page of its items."""

    items: list[ItemOut]
    next: int | None = Field(description="The cursor of the page after this one.")


class ReplayPage(BaseModel):
    """A page of replays, newest first. ``next`` is the cursor of the following one."""

    items: list[ReplayOut]
    next: UUID | None


Limit = Annotated[int, Query(ge=1, le=1000)]

_BODY_ERRORS = (MalformedBody, SlowBody, BodyTooLarge, UnsupportedBody, InvalidInput)
_KEY = {**IDEMPOTENCY_KEY, "description": "The same key with the same body again gives the replay that it made."}


@router.post(
    "",
    status_code=202,
    response_model=ReplayOut,
    openapi_extra={**takes("ReplayIn"), "parameters": [_KEY]},
    responses={
        200: {
            "model": PlanOut | ReplayOut,
            "description": "The plan, of a dry run; or the replay that the same key has made before",
            "content": {"application/json": {"example": replay_examples.PLAN}},
        },
        **documented(*_BODY_ERRORS, KeyReused),
    },
)
async def create_replay(request: Request, services: Wired, caller: Operator) -> Response:
    """Do one thing to all dispositions that a filter takes: in the background, below live traffic, and only to those
    that are counted now. Of each call only the newest disposition is sent."""
    asked = read_request(await read_object(request), caller)
    if asked.dry_run:
        return JSONReply(plan_out(await services.replays.plan(asked.order)))
    key = request.headers.get("idempotency-key")
    made = await services.replays.create(asked, caller, idempotency_key=key)
    headers = {"Location": f"/v1/replays/{made.replay.id}"}
    return JSONReply(summary(made.replay), 200 if made.duplicate else 202, headers)


_NO_OTHERS = [Depends(no_other_parameters)]


@router.get("", response_model=ReplayPage, responses=documented(InvalidInput), dependencies=_NO_OTHERS)
async def list_replays(
    services: Wired, caller: Reader, cursor: Annotated[UUID | None, Query()] = None, limit: Limit = 100
) -> Response:
    """Replays, newest first."""
    found, following = await services.replays.page(caller, after=cursor, limit=limit)
    return JSONReply({"items": [summary(one) for one in found], "next": following})


@router.get(
    "/{replay_id:uuid}",
    response_model=ReplayWhole,
    responses=documented(InvalidInput, NotFound),
    dependencies=_NO_OTHERS,
)
async def show_replay(
    replay_id: UUID,
    services: Wired,
    caller: Reader,
    result: Annotated[list[Result], Query()] = [],  # noqa: B006  # FastAPI copies it
    cursor: Annotated[int, Query(ge=0, le=MOST_ITEMS)] = 0,
    limit: Limit = 100,
) -> Response:
    """How a replay goes, and a page of its items in their order."""
    replay = await services.replays.get(replay_id, caller)
    items, following = await services.replays.items(replay_id, results=result, after=cursor, limit=limit)
    shown = [{name: getattr(item, name) for name in ItemOut.model_fields} for item in items]
    return JSONReply({**summary(replay), "items": shown, "next": following})


_ACTS = documented(*_BODY_ERRORS, NotFound, StateConflict)
_TAKES_WHY = takes(Why, required=False)


@router.post("/{replay_id:uuid}/start", response_model=ReplayOut, openapi_extra=_TAKES_WHY, responses=_ACTS)
async def start_replay(replay_id: UUID, request: Request, services: Wired, caller: Operator) -> Response:
    """Start a draft: what is done is what was counted."""
    why = await read_model(request, Why, required=False)
    return _out(await services.replays.start(replay_id, caller, reason=why.reason))


@router.post("/{replay_id:uuid}/cancel", response_model=ReplayOut, openapi_extra=_TAKES_WHY, responses=_ACTS)
async def cancel_replay(replay_id: UUID, request: Request, services: Wired, caller: Operator) -> Response:
    """End a replay. What it has sent is sent."""
    why = await read_model(request, Why, required=False)
    return _out(await services.replays.cancel(replay_id, caller, reason=why.reason))


def plan_out(plan: Plan) -> dict[str, Any]:
    """A plan as it is shown."""
    meanings = {why: MEANINGS[why] for why in plan.left_out}
    return {"eligible": plan.eligible, "left_out": plan.left_out, "samples": plan.samples, "meanings": meanings}


def _out(replay: Row[Any]) -> JSONReply:
    return JSONReply(summary(replay))
