"""How a page's route answers: its errors are pages too, and every answer tells the browser what it may do with it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.domain.errors import Fault, InvalidInput, NotAllowed, NotAuthenticated, NotFound, RateLimited, WrapupError
from app.storage.engine import DATABASE_TROUBLE
from app.web.dashboard.rendering import render
from app.web.faults import faults_of
from app.web.problems import problem_of

log = structlog.get_logger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

HEADERS = {
    # Nothing from elsewhere, nothing inline: what CloudAgent or a CRM wrote can't become a script or a style.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # an address may hold a phone number
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class PageRoute(APIRoute):
    """A route of the pages."""

    def get_route_handler(self) -> Handler:
        """FastAPI's, with errors as pages and the headers on every answer."""
        answer = super().get_route_handler()

        async def answer_as_page(request: Request) -> Response:
            try:
                response = await answer(request)
            except Exception as error:
                response = _page_of(request, error)
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return answer_as_page


def _page_of(request: Request, error: Exception) -> Response:
    if isinstance(error, NotAuthenticated):
        return _to_sign_in(request)
    if isinstance(error, RequestValidationError):
        error = _refused(error)
    if isinstance(error, DATABASE_TROUBLE):
        log.warning("database trouble", path=request.url.path, error=type(error).__name__)
        title, said, status = "The database does not answer", "Nothing was lost. Try again in a moment.", 503
    elif isinstance(error, WrapupError):
        problem = problem_of(error)
        title, said, status = problem.title, str(error), problem.status
        if isinstance(error, NotAllowed):
            title = "That is not allowed here"  # the API speaks of keys; people have none
    else:
        log.error("a page broke", method=request.method, path=request.url.path, exc_info=error)
        title, said, status = "Something is wrong with Wrapup", "It is in Wrapup's log. Nothing was changed.", 500
    faults = [fault.message for fault in error.faults] if isinstance(error, InvalidInput) else [said]
    page = render(request, "error.html", status=status, title=title, faults=faults, typed=request.method == "POST")
    if isinstance(error, RateLimited):
        page.headers["Retry-After"] = str(error.retry_after)
    return page


def _refused(error: RequestValidationError) -> WrapupError:
    """FastAPI's own checks. A path that can't name a thing names none."""
    complaints = error.errors()
    if any(complaint["loc"][0] == "path" for complaint in complaints):
        return NotFound("There is nothing under this address.")
    named = [{**complaint, "loc": complaint["loc"][1:2]} for complaint in complaints]
    return InvalidInput([Fault(fault.field, fault.message) for fault in faults_of(named)])


def _to_sign_in(request: Request) -> Response:
    """The way to the sign-in page, and back from there to where a look was wanted."""
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    where = f"/sign-in?{urlencode({'next': back})}" if request.method == "GET" and back != "/" else "/sign-in"
    return RedirectResponse(where, status_code=303)
