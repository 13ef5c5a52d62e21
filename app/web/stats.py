"""``/v1/stats``: how many, how old, how fast."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from app.web.auth import Reader, Wired
from app.web.problems import documented
from app.web.replies import JSONReply
from app.web.shapes import StatsOut

router = APIRouter(tags=["stats"])


@router.get("/v1/stats", response_model=StatsOut, responses=documented())
async def stats(services: Wired, caller: Reader) -> Response:
    """Counts by state, cause, outcome and account, the age of the oldest that is due, and rates a minute."""
    return JSONReply(await services.reports.stats(caller))
