"""``/v1/keys``: the keys of those who use the API. A key is shown once, when it is made."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.domain.errors import (
    BodyTooLarge,
    Fault,
    InvalidInput,
    MalformedBody,
    NotFound,
    SlowBody,
    StateConflict,
    UnsupportedBody,
)
from app.services.keys import GRACE, LONGEST_GRACE, NAME_PATTERN, Caller, Scope, no_key
from app.storage.keys import Key
from app.web.auth import Admin, Wired
from app.web.models import read_model, takes
from app.web.problems import documented
from app.web.replies import JSONReply
from app.web.shapes import Instant, Reason

router = APIRouter(prefix="/v1/keys", tags=["keys"])


class KeyIn(BaseModel):
    """A client and what it may do."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        pattern=f"^{NAME_PATTERN}$",
        description="Whose key it is. It stays the client's name when the key is rotated.",
    )
    scopes: list[Scope] = Field(min_length=1, description="What it may do. Each is its own: `admin` includes no other.")
    accounts: list[str] = Field([], description="Bind it to these accounts. Else all are its own.")
    expires_at: Instant | None = Field(None, description="Until when it works. Else until it is revoked.")


class Rotation(BaseModel):
    """How a key is replaced."""

    model_config = ConfigDict(extra="forbid")

    grace_seconds: int = Field(
        int(GRACE.total_seconds()),
        ge=0,
        le=int(LONGEST_GRACE.total_seconds()),
        description="For so long the client's older keys work yet. 0: they end now.",
    )
    expires_at: Instant | None = Field(
        None, description="Until when the new key works. Else it gets as long a life as the one before was given."
    )
    reason: Reason = None


class KeyOut(BaseModel):
    """A key, without the key itself."""

    name: str
    prefix: str = Field(description="Its first characters, to tell it by.")
    scopes: list[Scope]
    accounts: list[str] = Field(description="None: it is not bound, all are its own.")
    created_at: datetime
    expires_at: datetime | None
    replaced_at: datetime | None = Field(description="When a newer key took its place; it works until `expires_at`.")
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class KeyOnce(KeyOut):
    """A new key. It is shown here and never again."""

    key: str


Name = Annotated[str, Path(pattern=f"^{NAME_PATTERN}$", description="The client's name.")]

_BODY_ERRORS = (MalformedBody, SlowBody, BodyTooLarge, UnsupportedBody, InvalidInput)


@router.get("", response_model=list[KeyOut], responses=documented())
async def list_keys(services: Wired, caller: Admin) -> Response:
    """The keys by name, each client's newest first. A key that is bound to accounts sees those within them."""
    return JSONReply([_out(key) for key in await services.keys.all() if caller.covers(key.accounts)])


@router.post(
    "", status_code=201, response_model=KeyOnce, openapi_extra=takes(KeyIn), responses=documented(*_BODY_ERRORS)
)
async def create_key(request: Request, services: Wired, caller: Admin) -> Response:
    """Make a client's first key. A key that is bound to accounts can make only keys that are bound to them."""
    wanted = await read_model(request, KeyIn)
    if not caller.covers(wanted.accounts):
        own = ", ".join(sorted(caller.accounts))
        raise InvalidInput([Fault("accounts", f"accounts must be some of those that this key is bound to: {own}.")])
    key = await services.keys.create(
        wanted.name, wanted.scopes, wanted.accounts, expires_at=wanted.expires_at, actor=caller.actor
    )
    return _once(key, await services.keys.get(wanted.name))


@router.get("/{name}", response_model=KeyOut, responses=documented(NotFound))
async def show_key(name: Name, services: Wired, caller: Admin) -> Response:
    """A client's current key."""
    return JSONReply(_out(_own(caller, await services.keys.get(name))))


@router.post(
    "/{name}/rotate",
    status_code=201,
    response_model=KeyOnce,
    openapi_extra=takes(Rotation, required=False),
    responses=documented(*_BODY_ERRORS, NotFound, StateConflict),
)
async def rotate_key(name: Name, request: Request, services: Wired, caller: Admin) -> Response:
    """Make a client's new key; its older ones work for a grace yet, so that nothing stops while it is changed over."""
    wanted = await read_model(request, Rotation, required=False)
    _own(caller, await services.keys.get(name))
    key = await services.keys.rotate(
        name,
        grace=timedelta(seconds=wanted.grace_seconds),
        expires_at=wanted.expires_at,
        actor=caller.actor,
        reason=wanted.reason,
    )
    return _once(key, await services.keys.get(name))


@router.delete("/{name}", status_code=204, responses=documented(InvalidInput, NotFound))
async def revoke_key(name: Name, services: Wired, caller: Admin, reason: Annotated[Reason, Query()] = None) -> Response:
    """Make a client's keys useless, within seconds. Its name is not given to another."""
    _own(caller, await services.keys.get(name))
    await services.keys.revoke(name, actor=caller.actor, reason=reason)
    return Response(status_code=204)


def _own(caller: Caller, key: Key) -> Key:
    if not caller.covers(key.accounts):
        raise no_key(key.name)
    return key


def _out(key: Key) -> dict[str, Any]:
    return {name: getattr(key, name) for name in KeyOut.model_fields}


def _once(secret: str, key: Key) -> JSONReply:
    headers = {"Location": f"/v1/keys/{key.name}", "Cache-Control": "no-store"}
    return JSONReply({**_out(key), "key": secret}, 201, headers)
