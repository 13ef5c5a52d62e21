"""Who asks: the API key of a request, how fast its client may ask, and the scope that a route needs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from app.domain.errors import NotAuthenticated
from app.services.keys import Caller, Scope
from app.storage.events import came_from
from app.web.limits import ClientLimits
from app.wiring import Services

# For OpenAPI. What they find is not used, and their own errors neither.
_BEARER = HTTPBearer(auto_error=False, description="An API key: `wrapup keys create NAME --scope submit`.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key, as a header of its own.")


def services_of(request: Request) -> Services:
    """The services of the process that answers this request."""
    return cast(Services, request.app.state.services)


# What is done with these is a person's doing: the audit trail says from where.
_CHANGE = (Scope.OPERATE, Scope.ADMIN)

Wired = Annotated[Services, Depends(services_of)]


async def admit(request: Request, needed: Scope) -> Caller:
    """The caller of a request. Raises ``NotAuthenticated``, ``RateLimited``, or ``NotAllowed`` without the scope."""
    key = _key_in(request)
    if not key:
        raise NotAuthenticated("Send an API key: `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
    caller = await services_of(request).keys.authenticate(key)
    cast(ClientLimits, request.app.state.limits).take(caller.actor, time.monotonic(), request.scope)
    caller.require(needed)
    return caller


def security(needed: Scope) -> list[dict[str, list[str]]]:
    """What OpenAPI is told of a route that calls ``admit`` itself."""
    return [{_BEARER.scheme_name: [needed]}, {_HEADER.scheme_name: [needed]}]


def _key_in(request: Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and (key := key.strip()):
        return key
    return request.headers.get("x-api-key")


def _caller_with(needed: Scope) -> Callable[..., Awaitable[Caller]]:
    async def caller(
        request: Request,
        _bearer: HTTPAuthorizationCredentials | None = Security(_BEARER, scopes=[needed]),  # noqa: B008  # FastAPI's way
        _header: str | None = Security(_HEADER, scopes=[needed]),
    ) -> Caller:
        if needed in _CHANGE and request.client:
            came_from.set(request.client.host)
        return await admit(request, needed)

    return caller


Submitter = Annotated[Caller, Depends(_caller_with(Scope.SUBMIT))]
Reader = Annotated[Caller, Depends(_caller_with(Scope.READ))]
Operator = Annotated[Caller, Depends(_caller_with(Scope.OPERATE))]
Admin = Annotated[Caller, Depends(_caller_with(Scope.ADMIN))]
