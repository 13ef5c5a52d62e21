"""``/v1/schedules``: replays that recur."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
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
from app.domain.replays import LONGEST_REASON
from app.domain.schedules import NAME, READY_MADE, Overlap, RunState
from app.web.accounts import Why
from app.web.auth import Operator, Reader, Wired
from app.web.models import read_model, read_object, takes
from app.web.problems import documented
from app.web.replays import OrderIn
from app.web.replies import JSONReply
from app.web.shapes import Instant, Reason

router = APIRouter(prefix="/v1/schedules", tags=["schedules"])

_DURATION = "^[0-9]{1,9}(ms|s|m|h|d)$"


class ScheduleChange(BaseModel):
    """What is to be different. What is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    cron: str | None = Field(None, max_length=200, description="Five fields: minute, hour, day, month, weekday.")
    every: str | None = Field(
        None, pattern=_DURATION, description="In place of `cron`: `15m`, `6h`. At least a minute."
    )
    time_zone: str | None = Field(None, description="Whose wall clock `cron` means; UTC if nothing is said.")
    replay: OrderIn | None = Field(None, description="What is done. Relative times are relative to each run.")
    overlap: Overlap | None = Field(
        None, description="While the run before is still sending: `skip` (if nothing is said), or `queue`."
    )
    catch_up: str | None = Field(
        None,
        pattern=_DURATION,
        description="After downtime: runs that are later than this are missed. `1h`; 10s to 30d.",
    )
    paused: bool | None = None
    reason: str | None = Field(None, max_length=LONGEST_REASON)


class ScheduleIn(ScheduleChange):
    """A schedule to be made, with `cron` or with `every`."""

    name: str = Field(pattern=f"^{NAME.pattern}$")
    replay: OrderIn = Field(description="What is done. Relative times are relative to each run.")


class BackfillIn(BaseModel):
    """The runs of a time that has passed."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_: Instant = Field(alias="from")
    to: Instant
    reason: Reason = None


class ScheduleOut(BaseModel):
    """A schedule, and when it comes next."""

    name: str
    cron: str | None
    every: str | None
    time_zone: str
    replay: dict[str, Any]
    overlap: Overlap
    catch_up: str
    paused: bool
    next_times: list[datetime] = Field(description="The next five. None while it is paused.")
    actor: str
    created_at: datetime
    updated_at: datetime


class RunOut(BaseModel):
    """A run of a schedule."""

    due_at: datetime
    kind: str = Field(description="`due`, `now` (by hand) or `backfill`.")
    state: RunState
    n: int = Field(description="So many missed ones in a row are one line.")
    note: str | None
    replay_id: UUID | None
    at: datetime


class ScheduleWhole(ScheduleOut):
    """A schedule with its last fifty runs, newest first."""

    runs: list[RunOut]


class ReadyMade(BaseModel):
    """A schedule that can be made as it stands: `fields`, with a name."""

    name: str
    about: str
    fields: dict[str, Any]


Name = Annotated[str, Path(pattern=f"^{NAME.pattern}$")]

_BODY_ERRORS = (MalformedBody, SlowBody, BodyTooLarge, UnsupportedBody, InvalidInput)
_TAKES_WHY = takes(Why, required=False)


@router.get("", response_model=list[ScheduleOut], responses=documented())
async def list_schedules(services: Wired, caller: Reader) -> Response:
    """The schedules by name, each with its next five times."""
    return JSONReply(await services.schedules.all(caller))


@router.post(
    "",
    status_code=201,
    response_model=ScheduleOut,
    openapi_extra=takes(ScheduleIn),
    responses=documented(*_BODY_ERRORS),
)
async def create_schedule(request: Request, services: Wired, caller: Operator) -> Response:
    """Make a schedule. A key that is bound to accounts makes schedules for these."""
    made = await services.schedules.create(await read_object(request), caller)
    return JSONReply(made, 201, {"Location": f"/v1/schedules/{made['name']}"})


@router.get("/ready-made", response_model=list[ReadyMade], responses=documented())
async def list_ready_made_schedules(_caller: Reader) -> Response:
    """Schedules that others found useful, to be made as they are or changed."""
    return JSONReply([{"name": one.name, "about": one.about, "fields": one.fields} for one in READY_MADE])


@router.get("/{name}", response_model=ScheduleWhole, responses=documented(NotFound))
async def show_schedule(name: Name, services: Wired, caller: Reader) -> Response:
    """A schedule and what became of its runs."""
    return JSONReply(await services.schedules.get(name, caller))


@router.patch(
    "/{name}",
    response_model=ScheduleOut,
    openapi_extra=takes(ScheduleChange),
    responses=documented(*_BODY_ERRORS, NotFound),
)
async def change_schedule(name: Name, request: Request, services: Wired, caller: Operator) -> Response:
    """Change a schedule, pause it, or let it go on. What came due while it was paused is not made up for."""
    return JSONReply(await services.schedules.change(name, await read_object(request), caller))


@router.delete("/{name}", status_code=204, responses=documented(InvalidInput, NotFound))
async def delete_schedule(
    name: Name, services: Wired, caller: Operator, reason: Annotated[Reason, Query()] = None
) -> Response:
    """Delete a schedule with the history of its runs. The replays that it made stay, and go on."""
    await services.schedules.remove(name, caller, reason=reason)
    return Response(status_code=204)


@router.post(
    "/{name}/run",
    response_model=ScheduleWhole,
    openapi_extra=_TAKES_WHY,
    responses=documented(*_BODY_ERRORS, NotFound, StateConflict),
)
async def run_schedule(name: Name, request: Request, services: Wired, caller: Operator) -> Response:
    """Run it now, paused or not."""
    why = await read_model(request, Why, required=False)
    return JSONReply(await services.schedules.run(name, caller, reason=why.reason))


@router.post(
    "/{name}/backfill",
    response_model=ScheduleWhole,
    openapi_extra=takes(BackfillIn),
    responses=documented(*_BODY_ERRORS, NotFound, StateConflict),
)
async def backfill_schedule(name: Name, request: Request, services: Wired, caller: Operator) -> Response:
    """Run it for each of its times in a window that has passed, one after the other. To each of them `24h` is a day
    before it."""
    asked = await read_model(request, BackfillIn)
    return JSONReply(await services.schedules.backfill(name, asked.from_, asked.to, caller, reason=asked.reason))
