"""``/health/live``, ``/health/ready`` and ``/metrics``."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.responses import Response

from app.web import examples
from app.web.auth import Wired
from app.web.problems import documented_for_all
from app.web.replies import JSONReply

router = APIRouter(tags=["health"])


class Live(BaseModel):
    """This process answers."""

    status: Literal["live"]


class CheckOut(BaseModel):
    """One thing that has to be so."""

    ok: bool
    detail: str


class Ready(BaseModel):
    """Whether Wrapup works, and what was looked at."""

    status: Literal["ready", "not ready"]
    checks: dict[str, CheckOut]


@router.get("/health/live", response_model=Live)
async def live() -> Response:
    """This process answers. Nothing else is looked at: a database that is down is no reason to restart it."""
    return JSONReply({"status": "live"})


@router.get(
    "/health/ready",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Something that is needed is missing; it is named"}},
)
async def ready(services: Wired) -> Response:
    """The database answers, its schema is current, and somebody delivers."""
    checks = await services.health.ready()
    good = all(check.ok for check in checks)
    return JSONReply(
        {
            "status": "ready" if good else "not ready",
            "checks": {check.name: {"ok": check.ok, "detail": check.detail} for check in checks},
        },
        200 if good else 503,
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}, "example": examples.METRICS}}},
        **documented_for_all(),
    },
)
async def metrics(services: Wired) -> Response:
    """Figures for Prometheus. No account is named in them."""
    return Response(await services.health.metrics(), media_type=CONTENT_TYPE_LATEST)
