"""``/health/live``, ``/health/ready`` and ``/metrics``."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from app.web.auth import Wired
from app.web.replies import JSONReply

router = APIRouter(tags=["health"])


@router.get("/health/live", responses={200: {"content": {"application/json": {"example": {"status": "live"}}}}})
async def live() -> JSONReply:
    """This process answers. Nothing else is looked at: a database that is down is no reason to restart it."""
    return JSONReply({"status": "live"})


@router.get("/health/ready", responses={503: {"description": "Something that is needed is missing; it is named"}})
async def ready(services: Wired) -> JSONReply:
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


@router.get("/metrics", response_class=Response)
async def metrics(services: Wired) -> Response:
    """Figures for Prometheus. No account is named in them."""
    return Response(await services.health.metrics(), media_type=CONTENT_TYPE_LATEST)
