"""A shortcut for the one request that comes by the thousand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.web.problems import answer_to

Answer = Callable[[Request], Awaitable[Response]]


class Shortcut:
    """ASGI middleware: hands requests of an exact method and path straight to the function of their route.

    FastAPI finds a route and solves its parameters anew for each request, which costs more than all the rest of intake
    (``docs/decisions/0010-a-shortcut-for-intake.md``). The routes stand in FastAPI as well, for OpenAPI and for every
    other method; their functions take the request alone and are the same on both ways, and so are the errors.
    """

    def __init__(self, app: ASGIApp, routes: Mapping[tuple[str, str], Answer]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or passes the request on."""
        answer = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if answer is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await answer(request)
        except Exception as error:
            response = await answer_to(request, error)
        await response(scope, receive, send)
