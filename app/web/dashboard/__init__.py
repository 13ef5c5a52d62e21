"""The dashboard: pages for the people who run a floor. Each is an address that can be sent to a colleague, and works
without a script; rules are in the services, here is what they look like.
"""

from __future__ import annotations

from fastapi import APIRouter

from app.web.dashboard import (
    accounts,
    audit,
    dispositions,
    failures,
    live,
    overview,
    replays,
    schedules,
    sign_in,
    static,
    users,
)

router = APIRouter()
for _noun in (static, sign_in, overview, failures, dispositions, accounts, replays, schedules, audit, users, live):
    router.include_router(_noun.router)
