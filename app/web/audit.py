"""``/v1/audit``: who did what to which thing, when, from where, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.domain.errors import Fault, InvalidInput
from app.domain.filters import LONGEST_WORD, to_json
from app.domain.refusals import quoted, refusal
from app.services.keys import Caller
from app.storage.audit import Wanted
from app.web import examples, exports, filters
from app.web.auth import Reader, Wired
from app.web.problems import documented
from app.web.replies import JSONReply

router = APIRouter(prefix="/v1/audit", tags=["audit"])


class AuditLine(BaseModel):
    """Something that was done."""

    model_config = ConfigDict(populate_by_name=True)

    id: int
    at: datetime
    actor: str = Field(description="Who: a client, a user, a worker, the scheduler, the command line.")
    action: str
    account: str | None
    disposition: UUID | None = Field(description="To which disposition, if it was one.")
    subject: str | None = Field(description="Else to what: `account:acme`, `key:crm`, `failure:…`.")
    from_: str | None = Field(alias="from")
    to: str | None
    reason: str | None
    address: str | None = Field(description="From where a person did it.")


class AuditPage(BaseModel):
    """A page of the trail, newest first."""

    items: list[AuditLine]
    next: str | None = Field(
        description="The cursor of the next page; null on the last. A page may be short, or empty."
    )


_WORD: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": LONGEST_WORD, "pattern": "^[^\\x00]*$"}
_CONDITIONS: dict[str, tuple[dict[str, Any], str]] = {
    "actor": (_WORD, "Who: `client:crm`, `user:anna`, `cli`, …"),
    "action": (_WORD, "What: `retried`, `account held`, `key created`, …"),
    "subject": (_WORD, "To what: `account:acme`, `key:crm`, …"),
    "disposition": ({"type": "string", "format": "uuid"}, "To which disposition."),
    "people": ({"type": "boolean"}, "Only what people did: users, and the command line. No client, worker, schedule."),
}
_SHARED = ("account", "from", "to")  # with the filter of dispositions

PARAMETERS: list[dict[str, Any]] = [
    *(filters.parameter(name, schema, about) for name, (schema, about) in _CONDITIONS.items()),
    *(one for one in filters.PARAMETERS if one["name"] in _SHARED),
    filters.parameter("cursor", {"type": "string", "pattern": "^[0-9]{1,18}$"}, "`next` of the page before."),
    filters.parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
        "How many at most. A file has all, if it is left out.",
    ),
    filters.parameter("format", exports.SCHEMA, exports.ABOUT),
]


def _word(name: str, text: str) -> str:
    if not 0 < len(text) <= LONGEST_WORD or "\0" in text:
        raise refusal(name, f"is {quoted(text)}; it must have 1 to {LONGEST_WORD} characters")
    return text


def _identity(name: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise refusal(name, f"is {quoted(text)}; it must be the id of a disposition, a UUID") from None


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise refusal(name, f"is {quoted(text)}; it must be true or false")
    return text == "true"


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise refusal(name, f"is {quoted(text)}; it must be `next` of another page, as it came")
    return int(text)


_RULES: dict[str, filters.Rule] = {
    "actor": _word,
    "action": _word,
    "subject": _word,
    "disposition": _identity,
    "people": _flag,
    "cursor": _number,
    "limit": filters.number(1, 1000),
    "format": exports.rule,
}


def read_wanted(request: Request, caller: Caller) -> tuple[Wanted, dict[str, Any]]:
    """The lines that a request's query asks for, of what is the caller's, and the values of its other parameters.

    Raises ``InvalidInput`` with every fault.
    """
    shared, values = filters.read_query(request, caller, _RULES)
    if foreign := [name for name in to_json(shared) if name not in _SHARED]:
        known = ", ".join([*_CONDITIONS, *_SHARED])
        raise InvalidInput(
            [Fault(name, f"{name} is no filter of the audit trail; there are: {known}.") for name in foreign]
        )
    wanted = Wanted(
        **{name: values.pop(name) for name in _CONDITIONS if name in values},
        accounts=shared.accounts,
        since=shared.since,
        until=shared.until,
        only_accounts=caller.accounts,
    )
    return wanted, values


COLUMNS = tuple(field.alias or name for name, field in AuditLine.model_fields.items())
"""Of the trail as CSV."""


@router.get(
    "",
    response_model=AuditPage,
    openapi_extra={"parameters": PARAMETERS},
    responses={200: {"content": exports.documented(examples.AUDIT_LINE)}, **documented(InvalidInput)},
)
async def list_audit(request: Request, services: Wired, caller: Reader) -> Response:
    """The audit trail, newest first. Filters all apply.

    A page looks at 50,000 lines at most, so it may be short, even empty: go on until `next` is null."""
    wanted, values = read_wanted(request, caller)
    if "format" in values:
        lines = services.audit.all(wanted, after=values.get("cursor"), limit=values.get("limit"))
        return await exports.as_file(lines, COLUMNS, values["format"], "audit")
    found = await services.audit.page(wanted, after=values.get("cursor"), limit=values.get("limit", 100))
    return JSONReply({"items": found.items, "next": None if found.next is None else str(found.next)})
