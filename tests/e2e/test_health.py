"""``/health`` and ``/metrics`` of an API that starts alone, before the tables are there, and gets company."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from app.embedded.throwaway import ThrowawayServers
from app.settings import Settings
from tests.installation import Wrapup, until


@pytest.fixture
async def api(wrapup: Wrapup) -> Any:
    """``wrapup api``, and nothing else; a client of it."""
    running = wrapup.start("api", "--port=0")
    port = (await running.says('"port": ')).partition(",")[0]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        await running.says("Application startup complete")
        yield http


async def ready(http: httpx.AsyncClient) -> tuple[int, dict[str, Any]]:
    reply = await http.get("/health/ready")
    return reply.status_code, reply.json()["checks"]
