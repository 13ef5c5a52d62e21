"""Addresses that nothing is at: a browser gets a page with a way back, a program the problem document as ever."""

from __future__ import annotations

from contextlib import suppress

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from app.storage.engine import DATABASE_TROUBLE
from app.web.dashboard.rendering import render
from app.web.dashboard.routing import HEADERS
from app.web.dashboard.visitors import visitor_of
from app.web.problems import answer_to

_OF_PROGRAMS = ("/v1/", "/CAServices/", "/health/", "/metrics", "/openapi.json")


def install(api: FastAPI) -> None:
    """Has ``api`` answer so where none of its routes does."""
    for status in (404, 405):  # 405: somebody opened where a form is only sent to
        api.add_exception_handler(status, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    answer = await answer_to(request, error)
    if not _is_for_a_person(request):
        return answer
    with suppress(*DATABASE_TROUBLE):  # then without the bar
        request.state.visitor = await visitor_of(request)
    said = f"Nothing is at {request.url.path}. The address may be mistyped, or cut off where it was copied from."
    page = render(request, "error.html", status=404, title="There is no such page", faults=[said], typed=False)
    page.headers.update(HEADERS)
    return page


def _is_for_a_person(request: Request) -> bool:
    """True for a browser that wants a page. Programs that take anything get what they are used to."""
    accepted = request.headers.get("accept", "")
    return "text/html" in accepted and not request.url.path.startswith(_OF_PROGRAMS)
