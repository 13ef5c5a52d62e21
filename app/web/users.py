"""``/v1/users``: the people who work with the pages. A sign-in link is shown once, when it is made."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.responses import Response

from app.domain.errors import (
    BodyTooLarge,
    InvalidInput,
    MalformedBody,
    NotAllowed,
    NotFound,
    SlowBody,
    StateConflict,
    UnsupportedBody,
)
from app.secrets import Secret
from app.services.keys import NAME_PATTERN, Caller
from app.services.users import LINK_LIFETIME, LONGEST_LINK, PASSWORD_LEAST, PASSWORD_MOST, Role, link_path
from app.storage.users import User
from app.web.auth import Admin, Wired
from app.web.models import read_model, takes
from app.web.problems import documented
from app.web.replies import JSONReply
from app.web.shapes import Reason

router = APIRouter(prefix="/v1/users", tags=["users"])


class UserIn(BaseModel):
    """A user and what they may do."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=f"^{NAME_PATTERN}$", description="It is kept in lower case.")
    role: Role = Field(description="`viewer` looks, `operator` works, `admin` manages. Each includes the one before.")
    password: SecretStr | None = Field(
        None,
        description=f"{PASSWORD_LEAST} to {PASSWORD_MOST} characters. Without one the answer has a sign-in link.",
        json_schema_extra={"writeOnly": True},
    )


class UserChange(BaseModel):
    """What is to be changed of a user. What is left out stays."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    role: Role | None = None
    disabled: bool | None = Field(None, description="True ends all of the user's sessions at once.")
    password: SecretStr | None = Field(
        None, description="Ends all of the user's sessions.", json_schema_extra={"writeOnly": True}
    )
    reason: Reason = None


class LinkIn(BaseModel):
    """How long a sign-in link works."""

    model_config = ConfigDict(extra="forbid")

    lifetime_seconds: int = Field(
        int(LINK_LIFETIME.total_seconds()), ge=1, le=int(LONGEST_LINK.total_seconds()), description="If it is not used."
    )


class UserOut(BaseModel):
    """A user as they stand."""

    name: str
    role: Role
    has_password: bool
    created_at: datetime
    disabled_at: datetime | None
    signed_in_at: datetime | None = Field(description="The last time.")


class UserOnce(UserOut):
    """A user with a link that signs them in, once. It is shown here and never again."""

    sign_in_link: str | None = Field(description="Below the address of Wrapup. Null for a user with a password.")


def _unbound(caller: Admin) -> Caller:
    """An admin for all accounts: users see all of them, so that a bound key could give itself more than it has."""
    if caller.accounts:
        raise NotAllowed("This key is bound to accounts, and users see all of them. Use a key that is not bound.")
    return caller


UnboundAdmin = Annotated[Caller, Depends(_unbound)]
Name = Annotated[str, Path(pattern=f"^{NAME_PATTERN}$", description="The user's name.")]

_BODY_ERRORS = (MalformedBody, SlowBody, BodyTooLarge, UnsupportedBody, InvalidInput)


@router.get("", response_model=list[UserOut], responses=documented())
async def list_users(services: Wired, caller: UnboundAdmin) -> Response:
    """The users by name, the disabled ones too."""
    return JSONReply([_out(user) for user in await services.users.all()])


@router.post(
    "", status_code=201, response_model=UserOnce, openapi_extra=takes(UserIn), responses=documented(*_BODY_ERRORS)
)
async def create_user(request: Request, services: Wired, caller: UnboundAdmin) -> Response:
    """Make a user: with a password, or with a sign-in link to send to them."""
    wanted = await read_model(request, UserIn)
    password = _secret(wanted.password)
    user = await services.users.create(wanted.name, wanted.role, password=password, actor=caller.actor)
    link = None if password else link_path(await services.users.link(user.name, actor=caller.actor))
    return _once(user, link)


@router.get("/{name}", response_model=UserOut, responses=documented(NotFound))
async def show_user(name: Name, services: Wired, caller: UnboundAdmin) -> Response:
    """One user."""
    return JSONReply(_out(await services.users.get(name)))


@router.patch(
    "/{name}",
    response_model=UserOut,
    openapi_extra=takes(UserChange),
    responses=documented(*_BODY_ERRORS, NotFound, StateConflict),
)
async def change_user(name: Name, request: Request, services: Wired, caller: UnboundAdmin) -> Response:
    """Change a user's role, password or access. It holds from their next request on."""
    wanted = await read_model(request, UserChange)
    user = await services.users.get(name)
    if wanted.role is not None:
        user = await services.users.set_role(name, wanted.role, actor=caller.actor)
    if (password := _secret(wanted.password)) is not None:
        user = await services.users.set_password(name, password, actor=caller.actor)
    if wanted.disabled is not None:
        change = services.users.disable if wanted.disabled else services.users.enable
        user = await change(name, actor=caller.actor, reason=wanted.reason)
    return JSONReply(_out(user))


@router.post(
    "/{name}/link",
    status_code=201,
    response_model=UserOnce,
    openapi_extra=takes(LinkIn, required=False),
    responses=documented(*_BODY_ERRORS, NotFound, StateConflict),
)
async def make_sign_in_link(name: Name, request: Request, services: Wired, caller: UnboundAdmin) -> Response:
    """Make a link that signs the user in, once."""
    wanted = await read_model(request, LinkIn, required=False)
    lifetime = timedelta(seconds=wanted.lifetime_seconds)
    token = await services.users.link(name, lifetime=lifetime, actor=caller.actor)
    return _once(await services.users.get(name), link_path(token))


def _secret(sent: SecretStr | None) -> Secret | None:
    return None if sent is None else Secret(sent.get_secret_value())


def _out(user: User) -> dict[str, Any]:
    return {name: getattr(user, name) for name in UserOut.model_fields}


def _once(user: User, link: str | None) -> JSONReply:
    headers = {"Location": f"/v1/users/{user.name}", "Cache-Control": "no-store"}
    return JSONReply({**_out(user), "sign_in_link": link}, 201, headers)
