"""Accounts: how they do, hold and release, a new apiKey, settings."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from app.domain.errors import Fault, InvalidInput
from app.domain.lifecycle import State
from app.domain.refusals import quoted
from app.secrets import Secret
from app.services.accounts import AccountSettings, no_account
from app.services.trials import Trial
from app.storage.accounts import Account
from app.web.accounts import Customer
from app.web.auth import Wired
from app.web.dashboard.overview import WAITING
from app.web.dashboard.rendering import render
from app.web.dashboard.routing import PageRoute
from app.web.dashboard.visitors import AdminForm, OperatorForm, Posted, Viewer, Visitor
from app.wiring import Services

router = APIRouter(prefix="/accounts", route_class=PageRoute, include_in_schema=False)


@router.get("")
async def show_all(request: Request, services: Wired, visitor: Viewer) -> Response:
    """All accounts."""
    return await _list(request, services, visitor)


@router.post("")
async def set_up(request: Request, services: Wired, posted: AdminForm) -> Response:
    """A new account."""
    customer = posted.text("customer") or ""
    settings = AccountSettings(
        api_key=Secret(posted.fields.get("api_key", "").strip()), base_url=posted.text("base_url")
    )
    try:
        await _check_new(services, customer)
        await services.accounts.set(customer, settings, actor=posted.caller.actor)
    except InvalidInput as refused:
        typed = {"customer": customer, "base_url": posted.text("base_url") or ""}
        return await _list(request, services, posted.visitor, refused, typed)
    return _back(customer, "saved")


@router.get("/{customer}")
async def show(customer: Customer, request: Request, services: Wired, visitor: Viewer) -> Response:
    """One account."""
    return await _one(request, services, visitor, customer)


@router.post("/{customer}")
async def change(customer: Customer, request: Request, services: Wired, posted: AdminForm) -> Response:
    """Its settings."""
    await services.accounts.get(customer)
    try:
        settings = AccountSettings(
            base_url=posted.text("base_url"),
            max_in_flight=_number(posted, "max_in_flight", int),
            rate_per_second=_number(posted, "rate_per_second", float),
        )
        await services.accounts.set(customer, settings, actor=posted.caller.actor)
    except InvalidInput as refused:
        return await _one(request, services, posted.visitor, customer, refused)
    return _back(customer, "saved")


@router.post("/{customer}/key")
async def replace_key(customer: Customer, request: Request, services: Wired, posted: AdminForm) -> Response:
    """Its apiKey, which is shown nowhere."""
    await services.accounts.get(customer)
    settings = AccountSettings(api_key=Secret(posted.fields.get("api_key", "").strip()))
    try:
        await services.accounts.set(customer, settings, actor=posted.caller.actor)
    except InvalidInput as refused:
        return await _one(request, services, posted.visitor, customer, refused)
    return _back(customer, "key")


@router.post("/{customer}/hold")
async def hold(customer: Customer, services: Wired, posted: OperatorForm) -> Response:
    """Stops its deliveries."""
    await services.accounts.hold(customer, actor=posted.caller.actor, reason=posted.reason)
    return _back(customer, "held")


@router.post("/{customer}/release")
async def release(customer: Customer, services: Wired, posted: OperatorForm) -> Response:
    """Lets them go on."""
    await services.accounts.release(customer, actor=posted.caller.actor, reason=posted.reason)
    return _back(customer, "released")


@router.post("/{customer}/test")
async def test(customer: Customer, request: Request, services: Wired, posted: OperatorForm) -> Response:
    """Tries its address and credentials out. What was found is shown once: it is as of now."""
    if not posted.caller.owns(customer):
        raise no_account(customer)
    trial = await services.trials.run(customer, actor=posted.caller.actor, reason=posted.reason)
    return await _one(request, services, posted.visitor, customer, trial=trial)


@router.get("/{customer}/test")
async def show_tested(customer: Customer, _visitor: Viewer) -> Response:
    """For who opens that page's address again, and for its script, which keeps the rest of it fresh."""
    return RedirectResponse(f"/accounts/{quote(customer, safe='')}", 303)


async def _list(
    request: Request,
    services: Services,
    visitor: Visitor,
    refused: InvalidInput | None = None,
    typed: dict[str, Any] | None = None,
) -> Response:
    return render(
        request,
        "accounts.html",
        status=422 if refused else 200,
        accounts=[one for one in await services.accounts.all() if visitor.caller.owns(one.customer)],
        faults=_messages(refused),
        typed=typed or {"customer": "", "base_url": ""},
    )


async def _one(
    request: Request,
    services: Services,
    visitor: Visitor,
    customer: str,
    refused: InvalidInput | None = None,
    *,
    trial: Trial | None = None,
) -> Response:
    if not visitor.caller.owns(customer):
        raise no_account(customer)
    account: Account = await services.accounts.get(customer)
    states = (await services.reports.stats(visitor.caller))["accounts"].get(customer, {})
    return render(
        request,
        "account.html",
        status=422 if refused else 200,
        one=account,
        waiting=sum(states.get(one, 0) for one in WAITING),
        failed=states.get(State.FAILED, 0),
        trial=trial,
        faults=_messages(refused),
    )


async def _check_new(services: Services, customer: str) -> None:
    """No account's key is to be replaced by a form that says that it sets one up."""
    if any(one.customer == customer for one in await services.accounts.all()):
        fault = f"There is an account {quoted(customer)} already: open it to change it."
        raise InvalidInput([Fault("customer", fault)])


def _messages(refused: InvalidInput | None) -> list[str]:
    return [fault.message for fault in refused.faults] if refused else []


def _number(posted: Posted, name: str, kind: type[int] | type[float]) -> Any:
    text = posted.text(name)
    try:
        return None if text is None else kind(text)
    except ValueError:
        raise InvalidInput([Fault(name, f"{name} is {quoted(text)}; it must be a number.")]) from None


def _back(customer: str, said: str) -> Response:
    return RedirectResponse(f"/accounts/{quote(customer, safe='')}?said={said}", 303)
