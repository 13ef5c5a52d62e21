"""Schedules: replays that recur. When they come next, what became of their runs, run by hand, paused, made, deleted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from app.domain.errors import Fault, InvalidInput, NotFound
from app.domain.fields import instant
from app.domain.filters import LONGEST_WORD
from app.domain.refusals import quoted
from app.domain.replays import DEFAULT_RATE, Action
from app.domain.schedules import READY_MADE, Overlap, parse_schedule
from app.web.auth import Wired
from app.web.dashboard.dispositions import clean, grouped
from app.web.dashboard.rendering import render
from app.web.dashboard.routing import PageRoute
from app.web.dashboard.visitors import OperatorForm, Posted, Viewer, Visitor
from app.web.schedules import Name
from app.wiring import Services

router = APIRouter(prefix="/schedules", route_class=PageRoute, include_in_schema=False)

_PLAIN = ("name", "cron", "every", "time_zone", "overlap", "catch_up", "reason")
_WINDOW = ("from", "to")
_INPUTS = {*_PLAIN, "filter", "action", "map", "rate_per_second", "extend_max_age"}
_OF_FORM = ("filter", "action", "map", "rate_per_second", "extend_max_age", "reason")
"""What the form says of each run. The rest of it, from the API or the command line, stays as it is."""
_WHOLE_ADDRESS = ("http://", "https://", "/")


@router.get("")
async def show_all(
    request: Request,
    services: Wired,
    visitor: Viewer,
    ready_made: Annotated[str | None, Query(max_length=LONGEST_WORD)] = None,
    taken: Annotated[str, Query(alias="filter")] = "",
) -> Response:
    """All schedules, and the form for one more: empty, of a ready-made one, or with the filter of a list."""
    typed = _empty(services) | ({"filter": taken} if taken else {})
    if ready_made is not None:
        typed |= _ready_made(ready_made)
    return await _list(request, services, visitor, typed, begun=bool(taken or ready_made))


@router.post("")
async def make(request: Request, services: Wired, posted: OperatorForm) -> Response:
    """One more."""
    try:
        made = await services.schedules.create(_plan(posted), posted.caller)
    except InvalidInput as refused:
        typed = {name: posted.fields.get(name, "") for name in _INPUTS}
        return await _list(request, services, posted.visitor, typed, begun=True, refused=refused)
    return _back(made["name"], "scheduled")


@router.get("/{name}")
async def show(name: Name, request: Request, services: Wired, visitor: Viewer) -> Response:
    """One schedule, with what became of its runs."""
    return await _one(request, services, visitor, name)


@router.post("/{name}/change")
async def change(name: Name, request: Request, services: Wired, posted: OperatorForm) -> Response:
    """Changes when it comes, and what each run does."""
    one = await services.schedules.get(name, posted.caller)
    try:
        plan = _plan(posted, one["replay"]) | {"name": name}
        parse_schedule(plan, datetime.now(UTC))  # as a whole: a field that was emptied is not to stay as it was
        await services.schedules.change(name, plan | {"reason": posted.text("change_reason")}, posted.caller)
    except InvalidInput as refused:
        typed = {field: posted.fields.get(field, "") for field in {*_INPUTS, "change_reason"}}
        return await _one(request, services, posted.visitor, name, typed, refused, opened="change")
    return _back(name, "saved")


@router.post("/{name}/run")
async def run(name: Name, services: Wired, posted: OperatorForm) -> Response:
    """Runs it now, paused or not."""
    await services.schedules.run(name, posted.caller, reason=posted.reason)
    return _back(name, "ran")


@router.post("/{name}/backfill")
async def backfill(name: Name, request: Request, services: Wired, posted: OperatorForm) -> Response:
    """Runs it for each of its times in a window that has passed; the window is by the clock of the pages."""
    typed = {edge: posted.fields.get(edge, "") for edge in _WINDOW}
    try:
        since, until = _window(typed, ZoneInfo(services.settings.time_zone))
        await services.schedules.backfill(name, since, until, posted.caller, reason=posted.reason)
    except InvalidInput as refused:
        return await _one(request, services, posted.visitor, name, typed, refused, opened="backfill")
    return _back(name, "backfilled")


@router.post("/{name}/pause")
async def pause(name: Name, services: Wired, posted: OperatorForm) -> Response:
    """Lets it rest."""
    await services.schedules.change(name, {"paused": True, "reason": posted.reason}, posted.caller)
    return _back(name, "paused")


@router.post("/{name}/resume")
async def resume(name: Name, services: Wired, posted: OperatorForm) -> Response:
    """Lets it go on. What came due meanwhile is not made up for."""
    await services.schedules.change(name, {"paused": False, "reason": posted.reason}, posted.caller)
    return _back(name, "resumed")


@router.post("/{name}/delete")
async def delete(name: Name, services: Wired, posted: OperatorForm) -> Response:
    """Deletes it with the history of its runs; the replays that it made stay."""
    await services.schedules.remove(name, posted.caller, reason=posted.reason)
    return RedirectResponse("/schedules?said=deleted", 303)


async def _list(
    request: Request,
    services: Services,
    visitor: Visitor,
    typed: Mapping[str, Any],
    *,
    begun: bool,
    refused: InvalidInput | None = None,
) -> Response:
    last = await services.schedules.last_runs(visitor.caller)
    at_fields, faults = _placed(refused, _INPUTS)
    return render(
        request,
        "schedules.html",
        status=422 if refused else 200,
        schedules=await services.schedules.all(visitor.caller),
        last=last,
        effects=await services.replays.effects([run["replay_id"] for run in last.values() if run["replay_id"]]),
        ready_made=READY_MADE,
        typed=typed,
        begun=begun,
        at_fields=at_fields,
        faults=faults,
        actions=list(Action),
        overlaps=list(Overlap),
    )


def _plan(posted: Posted, was: Mapping[str, Any] | None = None) -> dict[str, object]:
    """What the form asks for, as the API's JSON does. The reason stands with the schedule and with each of its runs.

    ``was``: what each run does so far.
    """
    replay = {name: value for name, value in (was or {}).items() if name not in _OF_FORM} | {
        "filter": grouped(_conditions(posted.fields.get("filter", "").strip())),
        "action": posted.text("action"),
        "map": _value_map(posted.text("map")),
        "rate_per_second": _number(posted.text("rate_per_second")),
        "extend_max_age": bool(posted.text("extend_max_age")),
        "reason": posted.reason,
    }
    asked = {name: value for name, value in replay.items() if value is not None}
    return {name: posted.text(name) for name in _PLAIN} | {"replay": asked}


def _conditions(text: str) -> list[tuple[str, str]]:
    """The conditions in the address of a list, or in what stands behind its question mark.

    None is passed over, not even an empty one: without it more would be taken than was meant.
    """
    query = text.partition("?")[2].partition("#")[0] if text.startswith(_WHOLE_ADDRESS) else text.removeprefix("?")
    return parse_qsl(query, keep_blank_values=True)


def _value_map(text: str | None) -> dict[str, dict[str, str]] | None:
    """A line for each value: ``agent_id: x7 = a17``. Raises ``InvalidInput`` with every line that is none."""
    found: dict[str, dict[str, str]] = {}
    faults = list[Fault]()
    for line in (text or "").splitlines():
        field, colon, change = (part.strip() for part in line.partition(":"))
        wrong, *right = (part.strip() for part in change.split("="))
        if colon and wrong and len(right) == 1:
            found.setdefault(field, {})[wrong] = right[0]
        elif line.strip():
            fault = f"{quoted(line.strip())} must be a field, a colon, the wrong value, = and the right one."
            faults.append(Fault("map", fault))
    if faults:
        raise InvalidInput(faults)
    return found or None


def _window(typed: Mapping[str, str], zone: ZoneInfo) -> tuple[datetime, datetime]:
    """From when to when; raises ``InvalidInput`` with what is wrong with either."""
    in_full = dict(clean([*typed.items()], zone))
    found, faults = list[datetime](), list[Fault]()
    for edge in _WINDOW:
        try:
            found.append(instant(edge, in_full.get(edge)))
        except InvalidInput as refused:
            faults += refused.faults
    if faults:
        raise InvalidInput(faults)
    since, until = found
    return since, until


def _number(text: str | None) -> float | str | None:
    """A number; what is none is left to the rule, which says so."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


async def _one(
    request: Request,
    services: Services,
    visitor: Visitor,
    name: str,
    typed: Mapping[str, str] | None = None,
    refused: InvalidInput | None = None,
    *,
    opened: str = "",
) -> Response:
    one = visitor.sees_schedule(await services.schedules.get(name, visitor.caller))
    at_fields, faults = _placed(refused, _INPUTS if opened == "change" else _WINDOW)
    return render(
        request,
        "schedule.html",
        status=422 if refused else 200,
        one=one,
        effects=await services.replays.effects([run["replay_id"] for run in one["runs"] if run["replay_id"]]),
        takes_now=urlencode(one["replay"]["filter"], doseq=True),
        typed={**_as_typed(one), **(typed or {})},
        at_fields=at_fields,
        faults=faults,
        opened=opened,
        actions=list(Action),
        overlaps=list(Overlap),
    )


def _placed(refused: InvalidInput | None, inputs: Collection[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The faults by the field of the form at which they belong, and for the top of the page what has none."""
    at_fields: dict[str, list[str]] = {}
    faults = ["Nothing was done. What is to be corrected stands at its field."] if refused else []
    for fault in refused.faults if refused else ():
        if (name := _input(fault)) in inputs:
            at_fields.setdefault(name, []).append(fault.message)
        else:
            faults.append(fault.message)
    return at_fields, faults


def _input(fault: Fault) -> str:
    """``replay.filter.cause`` belongs to the field of the filter."""
    first, *rest = fault.field.split(".")
    return rest[0] if first == "replay" and rest else first


def _empty(services: Services) -> dict[str, Any]:
    return dict.fromkeys(_INPUTS, "") | {
        "time_zone": services.settings.time_zone,
        "action": Action.RETRY,
        "rate_per_second": f"{DEFAULT_RATE:g}",
        "overlap": Overlap.SKIP,
        "catch_up": "1h",
    }


def _as_typed(one: Mapping[str, Any]) -> dict[str, str]:
    """A schedule as its form has it."""
    replay = one["replay"]
    changes = [(field, *change) for field, values in (replay.get("map") or {}).items() for change in values.items()]
    return dict.fromkeys((*_INPUTS, *_WINDOW, "change_reason"), "") | {
        **{name: one[name] or "" for name in ("cron", "every", "time_zone", "overlap", "catch_up")},
        "filter": urlencode(replay["filter"], doseq=True),
        "action": replay.get("action", Action.RETRY),
        "map": "\n".join(f"{field}: {wrong} = {right}" for field, wrong, right in changes),
        "rate_per_second": f"{replay.get('rate_per_second', DEFAULT_RATE):g}",
        "extend_max_age": "yes" if replay.get("extend_max_age") else "",
        "reason": replay.get("reason") or "",
    }


def _ready_made(name: str) -> dict[str, Any]:
    found = next((one for one in READY_MADE if one.name == name), None)
    if found is None:
        known = ", ".join(one.name for one in READY_MADE)
        raise NotFound(f"There is no ready-made schedule {quoted(name)}; there are: {known}.")
    replay = found.fields["replay"]
    return {
        "name": found.name,
        "cron": found.fields["cron"],
        "time_zone": found.fields["time_zone"],
        "filter": urlencode(replay["filter"], doseq=True),
        "rate_per_second": f"{replay['rate_per_second']:g}",
        "extend_max_age": "yes" if replay["extend_max_age"] else "",
    }


def _back(name: str, said: str) -> Response:
    return RedirectResponse(f"/schedules/{name}?said={said}", 303)
