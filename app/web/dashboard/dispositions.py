"""Dispositions: the list with every filter in its address, one with all that happened to it, a call with all of its."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import RedirectResponse, Response

from app.domain.cursor import Cursor, parse_cursor
from app.domain.errors import InvalidInput
from app.domain.failures import Owner
from app.domain.filters import CAUSES, Filter, parse_filter
from app.domain.lifecycle import FINAL, State
from app.services.reports import Page
from app.web import exports
from app.web.auth import Wired
from app.web.dashboard import words
from app.web.dashboard.rendering import address, milliseconds, render
from app.web.dashboard.routing import PageRoute
from app.web.dashboard.visitors import Operator, OperatorForm, Viewer, Visitor
from app.web.dispositions import COLUMNS
from app.web.shapes import NO_NUL

router = APIRouter(route_class=PageRoute, include_in_schema=False)

PAGE_SIZE = 50

_WAITING = frozenset({State.QUEUED, State.RETRYING, State.HELD})  # for its account, it may be

_SINCES = {"1h": "the last hour", "24h": "the last 24 hours", "7d": "the last 7 days", "30d": "the last 30 days"}
_WITHOUT_FIELD = ("failure", "id")
_TEXTS = ("ucid", "agent_id", "did", "disposition", "source", "reference")

_CORRECTED = (
    *("agent_id", "ucid", "did", "disposition", "comments"),
    *("callback_time", "callback_time_zone", "reference"),
)
"""What can be corrected, in the order of what is wrong most often."""

_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")  # as browsers write it: no zone


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a timeline."""

    at: datetime
    icon: str
    what: str
    who: str | None = None
    why: str | None = None
    reply: str | None = None
    details: str | None = None
    notes: Sequence[str] = ()
    request_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A condition in the address for which the form has no field. ``without``: the address that lacks it."""

    name: str
    value: str
    without: str


@router.get("/dispositions")
async def show_list(
    request: Request, services: Wired, visitor: Viewer, cursor: Annotated[str | None, Query()] = None
) -> Response:
    """The list, newest first."""
    zone = ZoneInfo(services.settings.time_zone)
    asked = request.query_params.multi_items()
    if (cleaned := clean(asked, zone)) != asked:
        return RedirectResponse(address("/dispositions", grouped(cleaned)), 303)
    conditions = _conditions(asked)
    page, place, faults = Page([], None, None, None, partial=False), None, []
    try:
        wanted = wanted_by(conditions, visitor)
        place = parse_cursor("cursor", cursor) if cursor else None
        page = await services.reports.page(wanted, after=place, limit=PAGE_SIZE)
    except InvalidInput as refused:
        faults = [fault.message for fault in refused.faults]
    return render(
        request,
        "dispositions.html",
        status=422 if faults else 200,
        faults=faults,
        items=[*map(visitor.sees, page.items)],
        total=page.total,
        looked_to=_looked_to(page, place),
        numbers_hidden=not visitor.sees_numbers and any(map(str.isdigit, conditions.get("q", [""])[0])),
        chosen=lambda name: conditions.get(name, []),
        first=lambda name: conditions.get(name, [""])[0],
        kept=_kept(conditions),
        empty=not conditions,
        more_is_used=bool(conditions.keys() & {*_TEXTS, "cause", "to"}),
        accounts=[one.customer for one in await services.accounts.all() if visitor.caller.owns(one.customer)],
        sinces=_SINCES,
        since=_local(conditions.get("from", [""])[0], zone).replace("T", " ") or conditions.get("from", [""])[0],
        causes=CAUSES,
        texts=[name for name in _TEXTS if visitor.sees_numbers or name != "did"],
        before=_local(conditions.get("to", [""])[0], zone),
        newer=address("/dispositions", conditions, cursor=page.previous) if page.previous else None,
        older=address("/dispositions", conditions, cursor=page.next) if page.next else None,
        filter=urlencode(conditions, doseq=True),
    )


def _looked_to(page: Page, at: Cursor | None) -> datetime | None:
    """How far was looked for a page that is not full and may not be the last."""
    onward = page.previous if at is not None and at.newer else page.next
    return onward.time if page.partial and onward else None


@router.get("/dispositions.{kind}")
async def give_file(kind: exports.Format, request: Request, services: Wired, visitor: Viewer) -> Response:
    """All that the filter in the address takes, as a file; for viewers without what is not for them."""
    asked = clean(request.query_params.multi_items(), ZoneInfo(services.settings.time_zone))
    found = services.reports.all(wanted_by(_conditions(asked), visitor))
    return await exports.as_file(found, COLUMNS, kind, "dispositions", seen=visitor.sees)


@router.get("/dispositions/{disposition_id:uuid}")
async def show_one(disposition_id: UUID, request: Request, services: Wired, visitor: Viewer) -> Response:
    """One disposition."""
    one = visitor.sees(await services.reports.disposition(disposition_id, visitor.caller))
    failure = await services.failures.of_disposition(disposition_id, visitor.caller)
    return render(
        request,
        "disposition.html",
        one=one,
        steps=timeline(one),
        resendable=one["state"] in FINAL,
        failure=failure and visitor.sees_failure(failure),
        # The next step is to correct it: what is wrong with it stays so, however often it is sent.
        to_correct=failure is not None and failure["owner"] == Owner.DATA,
        account=await services.accounts.get(one["account"]) if one["state"] in _WAITING else None,
    )


@router.post("/dispositions/{disposition_id:uuid}/retry")
async def retry(disposition_id: UUID, services: Wired, posted: OperatorForm) -> Response:
    """Sends a failed one again."""
    await services.actions.retry(disposition_id, posted.caller, reason=posted.reason)
    return RedirectResponse(f"/dispositions/{disposition_id}?said=retried", 303)


@router.post("/dispositions/{disposition_id:uuid}/cancel")
async def cancel(disposition_id: UUID, services: Wired, posted: OperatorForm) -> Response:
    """Takes a waiting one back."""
    await services.actions.cancel(disposition_id, posted.caller, reason=posted.reason)
    return RedirectResponse(f"/dispositions/{disposition_id}?said=cancelled", 303)


@router.get("/dispositions/{disposition_id:uuid}/resend")
async def show_form(disposition_id: UUID, request: Request, services: Wired, visitor: Operator) -> Response:
    """The form that corrects one."""
    one = await services.reports.disposition(disposition_id, visitor.caller)
    return render(request, "resend.html", one=one, fields=_CORRECTED, typed=one)


@router.post("/dispositions/{disposition_id:uuid}/resend")
async def resend(disposition_id: UUID, request: Request, services: Wired, posted: OperatorForm) -> Response:
    """Sends a corrected one in its place."""
    one = await services.reports.disposition(disposition_id, posted.caller)
    typed = {name: posted.fields.get(name, one[name] or "").strip() for name in _CORRECTED}
    changes = {name: value or None for name, value in typed.items() if value != (one[name] or "")}
    try:
        new = await services.actions.resend(disposition_id, changes, posted.caller, reason=posted.reason)
    except InvalidInput as refused:
        faults = [fault.message for fault in refused.faults]
        return render(request, "resend.html", status=422, one=one, fields=_CORRECTED, typed=typed, faults=faults)
    return RedirectResponse(f"/dispositions/{new}?said=resent", 303)


@router.get("/calls/{account}/{ucid}")
async def show_call(
    account: Annotated[str, Path(pattern=NO_NUL, max_length=200)],
    ucid: Annotated[str, Path(pattern="^[0-9]{1,19}$")],
    request: Request,
    services: Wired,
    visitor: Viewer,
) -> Response:
    """A call with all of its dispositions."""
    wanted = wanted_by({"account": [account], "ucid": [ucid]}, visitor)
    page = await services.reports.page(wanted, after=None, limit=1000)
    return render(
        request,
        "call.html",
        account=account,
        ucid=ucid,
        items=[*map(visitor.sees, page.items)],
        after_unknown_at=await services.reports.after_unknown_at(account, ucid, visitor.caller),
    )


def grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """The values of each name."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def clean(asked: Sequence[tuple[str, str]], zone: ZoneInfo) -> list[tuple[str, str]]:
    """A query without what a form sends for fields that were left empty, and with its times in full: an address that
    means the same to every colleague."""
    return [
        (name, _in_full(value, zone) if _LOCAL.fullmatch(value) else value)
        for name, value in ((name, value.strip()) for name, value in asked)
        if value
    ]


def _in_full(value: str, zone: ZoneInfo) -> str:
    """A local time with its zone; one that no calendar has stays as it is, and is refused as any other."""
    try:
        return datetime.fromisoformat(value).replace(tzinfo=zone).isoformat()
    except ValueError:
        return value


def _conditions(asked: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """The filter in a query: without where in the list one is, and what was said."""
    return {name: values for name, values in grouped(asked).items() if name not in ("cursor", "said")}


def _kept(conditions: Mapping[str, Sequence[str]]) -> list[Kept]:
    """What would narrow the list without being seen: a field of the form holds one value, and some have no field."""
    return [
        Kept(name, value, address("/dispositions", _without(conditions, name, value)))
        for name, values in conditions.items()
        for value in (values if name in _WITHOUT_FIELD else values[1:] if name != "state" else ())
    ]


def _without(conditions: Mapping[str, Sequence[str]], name: str, value: str) -> dict[str, list[str]]:
    return {each: [one for one in values if each != name or one != value] for each, values in conditions.items()}


def wanted_by(conditions: Mapping[str, Sequence[str]], visitor: Visitor) -> Filter:
    """The filter of these conditions, for what is the visitor's to see. Raises ``InvalidInput``."""
    own = visitor.caller.accounts
    return parse_filter(conditions, datetime.now(UTC), only_accounts=own, by_number=visitor.sees_numbers)


def timeline(one: Mapping[str, Any]) -> list[Step]:
    """A disposition's attempts and events in one line of time, the oldest first."""
    steps = [_attempt(attempt) for attempt in one["attempts"]] + [_event(event) for event in one["events"]]
    return sorted(steps, key=lambda step: step.at)


def _attempt(attempt: Mapping[str, Any]) -> Step:
    outcome, certainty = attempt["outcome"], attempt["certainty"]
    said = ": ".join(text for text in (attempt["reply_status"], attempt["reply_details"]) if text)
    details = [
        words.CERTAINTIES.get(certainty, ""),
        f"HTTP {attempt['http_status']}" if attempt["http_status"] else "",
        f"after {milliseconds(attempt['latency_ms'])}" if attempt["latency_ms"] is not None else "",
    ]
    return Step(
        at=attempt["started_at"],
        icon=words.ICONS.get(outcome, "retrying") if outcome else "sending",
        what=f"Try {attempt['number']}: {words.outcome(outcome) if outcome else 'under way'}",
        reply=said or None,
        details=", ".join(part for part in details if part) or None,
        notes=attempt["notes"],
        request_id=attempt["id"],
    )


def _event(event: Mapping[str, Any]) -> Step:
    return Step(
        at=event["at"],
        icon=event["to"] or "queued",
        what=event["action"].capitalize(),
        who=words.actor(event["actor"]),
        why=words.outcome(event["reason"]) if event["reason"] in words.OUTCOMES else event["reason"],
    )


def _local(text: str, zone: ZoneInfo) -> str:
    """A moment as a browser's field has it; nothing for what is no moment, or beyond the calendar in that zone."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(zone):%Y-%m-%dT%H:%M}"
    except (ValueError, OverflowError):
        return ""
