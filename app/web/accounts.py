"""``/v1/accounts``: set up, hold, release, test."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr
from starlette.responses import Response

from app.cloudagent.client import FLAVOURS
from app.domain.callback_time import LateCallback
from app.domain.errors import BodyTooLarge, InvalidInput, MalformedBody, NotFound, SlowBody, UnsupportedBody
from app.domain.lane import Doubt
from app.secrets import Secret
from app.services.accounts import LOWEST_RATE, AccountSettings, no_account
from app.services.keys import Caller
from app.services.trials import Result
from app.storage.accounts import Account
from app.web.auth import Admin, Operator, Reader, Wired
from app.web.models import read_model, takes
from app.web.problems import documented
from app.web.replies import JSONReply
from app.web.shapes import NO_NUL, Reason

router = APIRouter(prefix="/v1/accounts", tags=["accounts"])


class AccountIn(BaseModel):
    """Settings of an account. What is left out stays as it is, or at its default for a new account."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("api_key", "apiKey"),
        description="CloudAgent's apiKey. It is never shown. A new account needs it.",
        json_schema_extra={"writeOnly": True},
    )
    base_url: str | None = None
    path: str | None = Field(None, description="In place of the documented path of the API.")
    api: str | None = Field(None, description=f"The flavour of CloudAgent's API: {', '.join(FLAVOURS)}.")
    max_in_flight: int | None = Field(None, ge=1, le=10_000, description="Calls at the same time.")
    rate_per_second: float | None = Field(
        None, ge=0, le=100_000, description=f"Calls a second, {LOWEST_RATE:g} at least. 0: no limit."
    )
    late_callback: LateCallback | None = Field(
        None, description="Once a call-back time has passed: `deliver` all the same, or `review` first."
    )


class AccountOut(BaseModel):
    """An account as it stands."""

    customer: str
    base_url: str
    path: str | None
    api: str
    max_in_flight: int
    rate_per_second: float | None
    callback_format: str
    late_callback: LateCallback
    on_hold: bool
    hold_cause: str | None
    hold_reason: str | None
    held_at: datetime | None
    doubt: Doubt | None = Field(description="Why only one call at a time is sent, a probe; null: all is well.")
    probe_at: datetime | None = Field(description="When in doubt: no call before this.")
    learned_rate: float | None = Field(description="Calls a second, after CloudAgent said that it was too much.")
    created_at: datetime
    updated_at: datetime


class CheckOut(BaseModel):
    """One thing that was looked at."""

    name: str
    result: Result
    found: str
    todo: str | None


class TrialOut(BaseModel):
    """What was found out about an account without disposing a call. `ok`: nothing failed."""

    customer: str
    api: str
    ok: bool
    checks: list[CheckOut]


class Why(BaseModel):
    """Why it is done."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = None


Customer = Annotated[str, Path(pattern=NO_NUL, description="CloudAgent's user name.")]

_BODY_ERRORS = (MalformedBody, SlowBody, BodyTooLarge, UnsupportedBody, InvalidInput, NotFound)


@router.get("", response_model=list[AccountOut], responses=documented())
async def list_accounts(services: Wired, caller: Reader) -> Response:
    """The accounts that are the caller's, by name."""
    return JSONReply([_out(one) for one in await services.accounts.all() if caller.owns(one.customer)])


@router.get("/{customer}", response_model=AccountOut, responses=documented(NotFound))
async def show_account(customer: Customer, services: Wired, caller: Reader) -> Response:
    """One account. Its apiKey is shown nowhere."""
    _own(caller, customer)
    return JSONReply(_out(await services.accounts.get(customer)))


@router.put(
    "/{customer}", response_model=AccountOut, openapi_extra=takes(AccountIn), responses=documented(*_BODY_ERRORS)
)
async def set_account(customer: Customer, request: Request, services: Wired, caller: Admin) -> Response:
    """Make an account, or change it. A new apiKey or address lifts a hold whose cause was the old one."""
    _own(caller, customer)
    wanted = _settings(await read_model(request, AccountIn))
    return JSONReply(_out(await services.accounts.set(customer, wanted, actor=caller.actor)))


@router.patch(
    "/{customer}", response_model=AccountOut, openapi_extra=takes(AccountIn), responses=documented(*_BODY_ERRORS)
)
async def change_account(customer: Customer, request: Request, services: Wired, caller: Admin) -> Response:
    """Change an account that there is. A new apiKey or address lifts a hold whose cause was the old one."""
    _own(caller, customer)
    wanted = _settings(await read_model(request, AccountIn))
    await services.accounts.get(customer)
    return JSONReply(_out(await services.accounts.set(customer, wanted, actor=caller.actor)))


@router.post(
    "/{customer}/hold",
    response_model=AccountOut,
    openapi_extra=takes(Why, required=False),
    responses=documented(*_BODY_ERRORS),
)
async def hold_account(customer: Customer, request: Request, services: Wired, caller: Operator) -> Response:
    """Stop the account's deliveries at once. They wait, and nothing is dropped."""
    _own(caller, customer)
    why = await read_model(request, Why, required=False)
    return JSONReply(_out(await services.accounts.hold(customer, actor=caller.actor, reason=why.reason)))


@router.post(
    "/{customer}/release",
    response_model=AccountOut,
    openapi_extra=takes(Why, required=False),
    responses=documented(*_BODY_ERRORS),
)
async def release_account(customer: Customer, request: Request, services: Wired, caller: Operator) -> Response:
    """Let the account's deliveries go on, one as a probe first."""
    _own(caller, customer)
    why = await read_model(request, Why, required=False)
    return JSONReply(_out(await services.accounts.release(customer, actor=caller.actor, reason=why.reason)))


@router.post(
    "/{customer}/test",
    response_model=TrialOut,
    openapi_extra=takes(Why, required=False),
    responses=documented(*_BODY_ERRORS),
)
async def test_account(customer: Customer, request: Request, services: Wired, caller: Operator) -> Response:
    """Try the account's address and credentials, on hold or not, without disposing a call. It takes one call to
    CloudAgent, or two. With `v2-json-token` a token is made, which counts among the ten of an hour."""
    _own(caller, customer)
    why = await read_model(request, Why, required=False)
    trial = await services.trials.run(customer, actor=caller.actor, reason=why.reason)
    return JSONReply({"customer": trial.customer, "api": trial.api, "ok": trial.ok, "checks": trial.checks})


def _own(caller: Caller, customer: str) -> None:
    if not caller.owns(customer):
        raise no_account(customer)


def _settings(sent: AccountIn) -> AccountSettings:
    key = sent.api_key
    return AccountSettings(
        api_key=None if key is None else Secret(key.get_secret_value()), **sent.model_dump(exclude={"api_key"})
    )


def _out(account: Account) -> dict[str, Any]:
    return {name: getattr(account, name) for name in AccountOut.model_fields}
