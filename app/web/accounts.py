"""``/v1/accounts``: set up, hold, release."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.responses import Response

from app.domain.errors import InvalidInput, NotFound
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.keys import Caller
from app.storage.accounts import Account
from app.web.auth import Admin, Operator, Reader, Wired
from app.web.problems import documented
from app.web.replies import JSONReply

router = APIRouter(prefix="/v1/accounts", tags=["accounts"])


class AccountIn(BaseModel):
    """Settings of an account. What is left out stays as it is. The apiKey is write-only."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    api_key: SecretStr | None = Field(None, json_schema_extra={"writeOnly": True})
    base_url: str | None = None
    path: str | None = None
    api: str | None = None
    max_in_flight: int | None = None
    rate_per_second: float | None = Field(None, description="0: no limit")


class AccountOut(BaseModel):
    """An account as it stands."""

    customer: str
    base_url: str
    path: str | None
    api: str
    max_in_flight: int
    rate_per_second: float | None
    callback_format: str
    on_hold: bool
    hold_cause: str | None
    hold_reason: str | None
    held_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Reason(BaseModel):
    """Why. It is kept in the audit trail."""

    reason: str | None = Field(None, max_length=500)


Why = Annotated[Reason | None, Body()]


@router.get("", response_model=list[AccountOut], responses=documented())
async def list_accounts(services: Wired, caller: Reader) -> Response:
    """The accounts that are the caller's, by name."""
    return JSONReply([_out(one) for one in await services.accounts.all() if caller.owns(one.customer)])


@router.get("/{customer}", response_model=AccountOut, responses=documented(NotFound))
async def show_account(customer: str, services: Wired, caller: Reader) -> Response:
    """One account. Its apiKey is shown nowhere."""
    _own(caller, customer)
    return JSONReply(_out(await services.accounts.get(customer)))


@router.put("/{customer}", response_model=AccountOut, responses=documented(InvalidInput, NotFound))
@router.patch("/{customer}", response_model=AccountOut, responses=documented(InvalidInput, NotFound))
async def set_account(customer: str, settings: AccountIn, services: Wired, caller: Admin) -> Response:
    """Make an account, or change it. A new apiKey does not release a hold: `/release` does."""
    _own(caller, customer)
    key = settings.api_key
    wanted = AccountSettings(
        api_key=None if key is None else Secret(key.get_secret_value()),
        **settings.model_dump(exclude={"api_key"}),
    )
    return JSONReply(_out(await services.accounts.set(customer, wanted, actor=caller.actor)))


@router.post("/{customer}/hold", response_model=AccountOut, responses=documented(InvalidInput, NotFound))
async def hold_account(customer: str, services: Wired, caller: Operator, why: Why = None) -> Response:
    """Stop the account's deliveries at once. They wait, and nothing is dropped."""
    _own(caller, customer)
    reason = why.reason if why else None
    return JSONReply(_out(await services.accounts.hold(customer, actor=caller.actor, reason=reason)))


@router.post("/{customer}/release", response_model=AccountOut, responses=documented(InvalidInput, NotFound))
async def release_account(customer: str, services: Wired, caller: Operator, why: Why = None) -> Response:
    """Let the account's deliveries go on."""
    _own(caller, customer)
    reason = why.reason if why else None
    return JSONReply(_out(await services.accounts.release(customer, actor=caller.actor, reason=reason)))


def _own(caller: Caller, customer: str) -> None:
    if not caller.owns(customer):
        raise NotFound(f"There is no account {customer[:100]!r}.")


def _out(account: Account) -> dict[str, Any]:
    return {name: getattr(account, name) for name in AccountOut.model_fields}
