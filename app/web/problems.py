"""Errors as problem documents (RFC 9457). One table says what each class of error is to a caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from app.domain.errors import (
    BodyTooLarge,
    InvalidInput,
    KeyReused,
    MalformedBody,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    NotStored,
    RateLimited,
    SlowBody,
    StateConflict,
    UnsupportedBody,
    WrapupError,
)
from app.web.faults import faults_of

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of problem: its HTTP status, its stable name and its title."""

    status: int
    name: str
    title: str

    @property
    def type(self) -> str:
        """The stable ``type`` of the document."""
        return f"urn:wrapup:problem:{self.name}"


PROBLEMS: Mapping[type[Exception], Problem] = {
    MalformedBody: Problem(400, "malformed-body", "The body can't be read"),
    NotAuthenticated: Problem(401, "not-authenticated", "No valid API key"),
    NotAllowed: Problem(403, "not-allowed", "The key lacks the scope"),
    NotFound: Problem(404, "not-found", "There is no such thing"),
    SlowBody: Problem(408, "slow-body", "The body took too long to arrive"),
    StateConflict: Problem(409, "state-conflict", "Its state does not allow this"),
    BodyTooLarge: Problem(413, "body-too-large", "The body is too large"),
    UnsupportedBody: Problem(415, "unsupported-body", "This kind of body is not taken"),
    InvalidInput: Problem(422, "invalid-input", "Some fields are wrong"),
    KeyReused: Problem(422, "idempotency-key-reused", "The Idempotency-Key was used for something else"),
    RateLimited: Problem(429, "rate-limited", "Too many requests"),
    NotStored: Problem(503, "not-stored", "Not stored, send it again"),
    SQLAlchemyError: Problem(503, "database-unavailable", "The database does not answer"),
    Exception: Problem(500, "internal-error", "Something is wrong with Wrapup"),
}
METHOD_NOT_ALLOWED = Problem(405, "method-not-allowed", "This address does not take this method")
"""The one problem that comes of no error of ours."""

_BY_STATUS = {problem.status: problem for problem in (METHOD_NOT_ALLOWED, *reversed(list(PROBLEMS.values())))}

_LONG_DIGITS = 5  # of a Content-Length: 100,000 bytes are much

# The database is gone, going, too slow, or not to be written to. What else it complains about is a fault of ours.
_DATABASE_TROUBLE = (OperationalError, InterfaceError, InternalError, PoolTimeoutError, OSError)


def problem_of(error: Exception) -> Problem:
    """The kind of problem that an error is: the entry of its nearest class."""
    return next(PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS)


def document_of(error: WrapupError) -> dict[str, Any]:
    """The problem document of one of our own errors."""
    problem = problem_of(error)
    if not isinstance(error, InvalidInput):
        return _document(problem, str(error))
    count = len(error.faults)
    faults = [{"field": fault.field, "message": fault.message} for fault in error.faults]
    return _document(problem, f"{count} field is wrong." if count == 1 else f"{count} fields are wrong.", errors=faults)


def _document(problem: Problem, detail: str, **more: Any) -> dict[str, Any]:
    return {"type": problem.type, "title": problem.title, "status": problem.status, "detail": detail, **more}


def _reply(document: Mapping[str, Any], *, retry_after: int | None = None) -> Response:
    headers = {}
    if document["status"] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Response(orjson.dumps(document), document["status"], headers, MEDIA_TYPE)


async def _on_wrapup_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WrapupError)
    reply = _reply(document_of(error), retry_after=getattr(error, "retry_after", None))
    if _leaves_a_body(request, error):
        reply.headers["Connection"] = "close"
    return reply


def _leaves_a_body(request: Request, error: WrapupError) -> bool:
    """True if much of the body may be on its way yet. The server would read on, and throw away, for ever."""
    if isinstance(error, BodyTooLarge | SlowBody):
        return True
    if not isinstance(error, NotAuthenticated | NotAllowed | RateLimited | UnsupportedBody):
        return False  # it came after the body was read
    return "transfer-encoding" in request.headers or len(request.headers.get("content-length", "")) > _LONG_DIGITS


async def _on_bad_parameters(_: Request, error: Exception) -> Response:
    """FastAPI's own checks, of paths and queries. A path that can't name a thing names none."""
    assert isinstance(error, RequestValidationError)
    complaints = error.errors()
    if any(complaint["loc"][0] == "path" for complaint in complaints):
        return _reply(_document(PROBLEMS[NotFound], "There is nothing under this address."))
    # Where it was found ("query"), its name, and perhaps which of several values.
    named = [{**complaint, "loc": complaint["loc"][1:2]} for complaint in complaints]
    return _reply(document_of(InvalidInput(faults_of(named))))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = _BY_STATUS.get(error.status_code) or Problem(error.status_code, "http-error", str(error.detail))
    reply = _reply(_document(problem, str(error.detail)))
    reply.headers.update(error.headers or {})
    if error.status_code == 405 and (methods := _methods_at(request)):
        reply.headers["Allow"] = ", ".join(methods)
    return reply


def _methods_at(request: Request) -> list[str]:
    """All methods that an address takes. The error names those of one route only."""
    paths, path = request.app.openapi()["paths"], request.url.path
    here = [paths[path]] if path in paths else [paths[one] for one in paths if compile_path(one)[0].match(path)]
    return sorted(method.upper() for operations in here for method in operations)


async def _on_database_error(request: Request, error: Exception) -> Response:
    log.warning("database trouble", path=request.url.path, error=type(error).__name__)
    document = _document(PROBLEMS[SQLAlchemyError], "The database does not answer. Try again in a moment.")
    return _reply(document, retry_after=2)


async def _on_anything_else(request: Request, error: Exception) -> Response:
    log.error("a request broke", method=request.method, path=request.url.path, exc_info=error)
    return _reply(_document(PROBLEMS[Exception], "The request could not be carried out. It is in Wrapup's log."))


_ANSWERS: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    WrapupError: _on_wrapup_error,
    RequestValidationError: _on_bad_parameters,
    HTTPException: _on_http_error,
    **dict.fromkeys(_DATABASE_TROUBLE, _on_database_error),
    Exception: _on_anything_else,
}


async def answer_to(request: Request, error: Exception) -> Response:
    """The problem document for any error of a request."""
    return await next(_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS)(request, error)


def install(api: FastAPI) -> None:
    """Makes every error of ``api`` a problem document."""
    for kind, answer in _ANSWERS.items():
        api.add_exception_handler(kind, answer)


def documented(*errors: type[Exception]) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that needs a key and may end in these errors, for OpenAPI."""
    return documented_for_all(*errors, NotAuthenticated, NotAllowed, RateLimited)


def documented_for_all(*errors: type[Exception]) -> dict[int | str, dict[str, Any]]:
    """The same for a route that needs no key. Any may find the database away."""
    documents: dict[int | str, dict[str, Any]] = {}
    for error in (*errors, SQLAlchemyError):
        problem = PROBLEMS[error]
        example = _document(problem, "…")
        if error is InvalidInput:
            example["errors"] = [{"field": "ucid", "message": "…"}]
        entry = documents.setdefault(
            problem.status, {"description": problem.title, "content": {MEDIA_TYPE: {"examples": {}}}}
        )
        content = entry["content"][MEDIA_TYPE]
        content["examples"][problem.name] = {"value": example}
        content["schema"] = {"$ref": "#/components/schemas/Problem"}
    return dict(sorted(documents.items()))


SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "What went wrong (RFC 9457). `type` is stable; `errors` names every wrong field.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
