"""Who asks: the API key of a request, and the scope that a route needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from app.domain.errors import NotAuthenticated
from app.services.keys import Caller, Scope
from app.wiring import Services

# For OpenAPI; what they find is used below, their own errors are not.
_BEARER = HTTPBearer(auto_error=False, description="An API key: `wrapup keys create NAME --scope submit`.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key, as a header of its own.")


def services_of(request: Request) -> Services:
    """The services of the process that answers this request."""
    return cast(Services, request.app.state.services)


Wired = Annotated[Services, Depends(services_of)]


def _caller_with(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    async def caller(
        services: Wired,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        header: Annotated[str | None, Security(_HEADER)],
    ) -> Caller:
        key = bearer.credentials if bearer is not None else header
        if not key:
            raise NotAuthenticated("Send an API key: `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
        known = await services.keys.authenticate(key)
        known.require(scope)
        return known

    return caller


Submitter = Annotated[Caller, Depends(_caller_with(Scope.SUBMIT))]
Reader = Annotated[Caller, Depends(_caller_with(Scope.READ))]
Operator = Annotated[Caller, Depends(_caller_with(Scope.OPERATE))]
Admin = Annotated[Caller, Depends(_caller_with(Scope.ADMIN))]
