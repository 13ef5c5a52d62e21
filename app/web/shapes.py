"""The shapes of the API, for OpenAPI. They document; the rules themselves are in ``app/domain``.

One place checks a disposition, however it comes in (JSON, form, batch, command line): ``parse_disposition``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from app.domain.errors import InvalidInput
from app.domain.fields import instant
from app.domain.lifecycle import State
from app.domain.replies import Certainty, Outcome


def _instant(value: object) -> datetime | None:
    """A time as the contract has it. pydantic alone takes "0" for one, too."""
    if value is None:
        return None
    try:
        return instant("The time", value)
    except InvalidInput as error:
        raise ValueError(str(error)) from None


Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time in a query or in a body: RFC 3339 with an offset."""

IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
"""For OpenAPI: the header is read by our own code."""

NO_NUL = r"^[^\x00]*$"
"""PostgreSQL knows no NUL."""

Reason = Annotated[str | None, Field(max_length=500, pattern=NO_NUL, description="Why. It is kept in the audit trail.")]


# Forms send a field that was left empty as an empty text, so an empty text is as good as none.
_EMPTY: dict[str, Any] = {"type": "string", "maxLength": 0}
_NULL: dict[str, Any] = {"type": "null"}


class DispositionIn(BaseModel):
    """A disposition to deliver. CloudAgent's own names are accepted as aliases. What is empty or null is as if it
    were left out."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    account: str | None = Field(
        None, description="CloudAgent user name. Optional if the key is bound to one account. Alias: `customer`."
    )
    ucid: str = Field(description="The call: digits, fewer than 20.", pattern="^[0-9]{1,19}$")
    did: str = Field(description="The number from which the call was dialled out.", pattern=r"^\+?[0-9]{1,20}$")
    agent_id: str = Field(description="The agent who handled the call. Alias: `agentID`.", min_length=1, max_length=100)
    disposition: str = Field(description="The outcome code.", min_length=1, max_length=200)
    comments: str | None = Field(None, max_length=2000)
    action: str | None = Field(None, description="Only `set`.", pattern="^([sS][eE][tT])?$")
    callback_time: str | None = Field(
        None,
        description="ISO 8601 with or without offset, `yyyy-mm-dd HH:mm:ss` or `mm/dd/yyyy HH:mm:ss`. "
        "Alias: `callBackTime`.",
        max_length=100,
    )
    callback_time_zone: str | None = Field(
        None, description="IANA name, default Asia/Kolkata. Alias: `callBackTimeZone`."
    )
    pause_after_dispose: bool | str | None = Field(
        None,
        description="Alias: `pauseAfterDispose`.",
        json_schema_extra={
            "anyOf": [{"type": "boolean"}, {"enum": ["true", "false", "yes", "no", "1", "0", ""]}, _NULL]
        },
    )
    pause_reason: str | None = Field(None, description="Alias: `pauseReason`.", max_length=100)
    occurred_at: datetime | None = Field(
        None,
        description="When the agent chose it; orders the dispositions of one call.",
        json_schema_extra={"anyOf": [{"type": "string", "format": "date-time"}, _EMPTY, _NULL]},
    )
    max_age_seconds: int | None = Field(
        None,
        description="Give up after this time; default 72 hours.",
        json_schema_extra={
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 2_592_000},
                {"type": "string", "pattern": "^[0-9]*$"},
                _NULL,
            ]
        },
    )
    reference: str | None = Field(None, description="The sender's own id; searchable.", max_length=200)


class ReceiptOut(BaseModel):
    """The disposition is stored."""

    id: UUID
    state: State
    account: str
    ucid: str
    duplicate: bool


class BatchItemIn(DispositionIn):
    """A disposition of a batch, with an idempotency key of its own."""

    idempotency_key: str | None = Field(None, description="1 to 255 visible ASCII characters.")


class BatchIn(BaseModel):
    """Up to 1,000 dispositions."""

    dispositions: list[BatchItemIn] = Field(min_length=1, max_length=1000)


class BatchResult(BaseModel):
    """What became of one item: a receipt, or a problem document."""

    index: int
    status: int = Field(description="The HTTP status that the disposition would have had alone.")
    id: UUID | None = None
    state: State | None = None
    account: str | None = None
    ucid: str | None = None
    duplicate: bool | None = None
    problem: dict[str, Any] | None = Field(None, description="As the answer would have been, alone.")


class BatchOut(BaseModel):
    """One result for each item, in order."""

    results: list[BatchResult]


class AttemptOut(BaseModel):
    """One HTTP call to CloudAgent. ``id`` travelled as ``X-Request-Id``."""

    id: UUID
    number: int
    started_at: datetime
    finished_at: datetime | None
    outcome: Outcome | None
    certainty: Certainty | None
    http_status: int | None
    reply_status: str | None
    reply_details: str | None
    latency_ms: int | None
    notes: list[str]


class EventOut(BaseModel):
    """A line of the audit trail."""

    model_config = ConfigDict(populate_by_name=True)

    at: datetime
    actor: str
    action: str
    from_: State | None = Field(alias="from")
    to: State | None
    reason: str | None


class DispositionSummary(BaseModel):
    """A disposition as it stands."""

    id: UUID
    account: str
    ucid: str
    did: str
    agent_id: str
    disposition: str
    comments: str | None
    callback_time: str | None
    callback_time_zone: str | None
    pause_after_dispose: bool
    pause_reason: str | None
    reference: str | None
    source: str | None
    occurred_at: datetime | None
    state: State
    outcome: Outcome | None
    cause: str | None
    attempt_count: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime
    superseded_by: UUID | None
    resent_from: UUID | None
    replay_id: UUID | None


class DispositionWhole(DispositionSummary):
    """A disposition with all that happened to it."""

    resent_as: UUID | None = Field(description="The corrected one that was made of it, whose `resent_from` it is.")
    attempts: list[AttemptOut]
    events: list[EventOut]


class DispositionPage(BaseModel):
    """A page of a list, newest first. ``next`` is the cursor of the following one."""

    items: list[DispositionSummary]
    next: str | None = Field(description="The cursor of the older page; null on the last.")
    previous: str | None = Field(description="The cursor of the newer page; null on the first.")
    total: int | None = Field(description="Of all that the filter takes; null where they would have to be counted.")
    partial: bool = Field(
        description="True if the page is not full, even empty, and others may be behind `next` (or `previous`, going "
        "back): of what was looked through for it too little matched."
    )


class StatsOut(BaseModel):
    """Counts and rates, for the accounts that are the caller's."""

    at: datetime
    states: dict[State, int]
    causes: dict[str, int]
    outcomes: dict[str, int]
    accounts: dict[str, dict[State, int]]
    oldest_due_seconds: float
    rates_per_minute: dict[State, float]
