"""The API: one application, put together from one router for each noun."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from app.settings import Settings
from app.web import accounts, batch, cloudagent, dispositions, health, problems, shapes, stats
from app.web.replies import JSONReply
from app.wiring import open_services

_ABOUT = """
Wrapup takes call dispositions from CRMs and gets every one of them into CloudAgent, or says exactly why not.

**202 means stored.** Every accepted disposition ends in a recorded final state; every call to CloudAgent has an
attempt that can be looked up here. Errors are problem documents (RFC 9457) with a stable `type`.
"""


def create_app(settings: Settings) -> FastAPI:
    """The application. It opens the database when it starts, and commits what it has in hand when it stops."""

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings) as services:
            api.state.services = services
            yield

    api = FastAPI(
        title="Wrapup",
        version=version("wrapup"),
        description=_ABOUT,
        lifespan=lifespan,
        default_response_class=JSONReply,
        redirect_slashes=False,
    )
    # The drop-in's queries hold an apiKey. Whoever starts the server, with whatever options: no log of them.
    logging.getLogger("uvicorn.access").disabled = True
    problems.install(api)
    for noun in (dispositions, batch, stats, accounts, cloudagent, health):
        api.include_router(noun.router)
    api.openapi = lambda: _openapi(api)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return api


def _openapi(api: FastAPI) -> dict[str, Any]:
    """FastAPI's document with the shapes that our own code checks."""
    if api.openapi_schema is None:
        document = FastAPI.openapi(api)
        schemas = document["components"]["schemas"]
        schemas["Problem"] = dict(problems.SCHEMA)
        schemas.update(shapes.read_by_our_own_code())
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        # FastAPI documents its own 422 where a route has none; ours are problem documents.
        for path in document["paths"].values():
            for operation in path.values():
                answer = operation["responses"].get("422", {})
                if "HTTPValidationError" in str(answer):
                    operation["responses"].pop("422")
        api.openapi_schema = document
    return api.openapi_schema
