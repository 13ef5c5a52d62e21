"""The API: one application, put together from one router for each noun."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from app.settings import Settings
from app.web import (
    accounts,
    actions,
    audit,
    batch,
    cloudagent,
    dispositions,
    docs,
    failures,
    health,
    keys,
    openapi,
    problems,
    replays,
    schedules,
    stats,
    stream,
    users,
)
from app.web.dashboard import router as dashboard
from app.web.dashboard import unknown
from app.web.limits import ClientLimits, RateLimitHeaders
from app.web.replies import JSONReply
from app.web.shortcut import Shortcut
from app.wiring import open_services

_ABOUT = """
Wrapup takes call dispositions from CRMs and gets every one of them into CloudAgent, or says exactly why not.

**202 means stored.** Every accepted disposition ends in a recorded final state; every call to CloudAgent has an
attempt that can be looked up here. Errors are problem documents (RFC 9457) with a stable `type`.
"""


# FastAPI's own traces would hold the whole URL, and the drop-in's URL holds an apiKey.
_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


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
        telemetry=_NO_TELEMETRY,
        docs_url=None,  # FastAPI's loads its scripts from elsewhere; ours is in docs.py
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    # The drop-in's queries hold an apiKey. Whoever starts the server, with whatever options: no log of them.
    logging.getLogger("uvicorn.access").disabled = True
    api.state.limits = ClientLimits(settings.client_rate)
    api.add_middleware(Shortcut, routes={("POST", "/v1/dispositions"): dispositions.submit})
    api.add_middleware(RateLimitHeaders)
    problems.install(api)
    unknown.install(api)
    for noun in (
        *(dispositions, batch, actions, failures, replays, schedules, stats, stream, audit),
        *(accounts, keys, users, cloudagent, health, docs),
    ):
        api.include_router(noun.router)
    api.include_router(dashboard)
    api.openapi = lambda: openapi.document_of(api)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return api
