"""The examples' story goes on: CloudAgent was down last night; what failed is sent again, from then on each night."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.web.examples import DISPOSITION_ID

REPLAY_IN: dict[str, Any] = {
    "filter": {"state": "failed", "cause": ["no_reply", "unreachable"], "from": "24h"},
    "rate_per_second": 5,
    "reason": "CloudAgent was down last night",
}

_REPLAY_ID = "01937c2f-1c40-7a35-b1d2-8f0e6c7a9b13"

PLAN: dict[str, Any] = {
    "eligible": 58,
    "left_out": {"newer": 2},
    "samples": {"eligible": [DISPOSITION_ID], "newer": []},
    "meanings": {"newer": "a newer disposition of its call would be overwritten"},
}

REPLAY: dict[str, Any] = {
    "id": _REPLAY_ID,
    "action": "retry",
    "state": "running",
    "actor": "client:crm",
    "reason": "CloudAgent was down last night",
    "filter": {"state": ["failed"], "cause": ["no_reply", "unreachable"], "from": "2026-11-24T10:30:00Z"},
    "map": {},
    "rate_per_second": 5.0,
    "max_items": 100000,
    "extend_max_age": False,
    "stop_share": 0.5,
    "stop_after": 50,
    "left_out": {"newer": 2},
    "total": 58,
    "waiting": 47,
    "skipped": 0,
    "sent": 3,
    "delivered": 8,
    "failed": 0,
    "superseded": 0,
    "cancelled": 0,
    "created_at": "2026-11-25T10:30:00Z",
    "started_at": "2026-11-25T10:30:00Z",
    "ended_at": None,
    "settled_at": None,
    "schedule_id": None,
}

_ITEM: dict[str, Any] = {
    "position": 1,
    "disposition_id": DISPOSITION_ID,
    "result": "delivered",
    "why": None,
    "sent_id": DISPOSITION_ID,
    "at": "2026-11-25T10:30:01Z",
}

REPLAY_WHOLE: dict[str, Any] = {**REPLAY, "items": [_ITEM], "next": None}

_SCHEDULED: dict[str, Any] = {
    "filter": {"state": "failed", "cause": "no_reply", "from": "7d"},
    "rate_per_second": 5,
    "extend_max_age": True,
}

SCHEDULE_IN: dict[str, Any] = {
    "name": "nightly",
    "cron": "30 2 * * *",
    "time_zone": "Asia/Kolkata",
    "replay": _SCHEDULED,
}

SCHEDULE: dict[str, Any] = {
    **SCHEDULE_IN,
    "every": None,
    "overlap": "skip",
    "catch_up": "1h",
    "paused": False,
    "next_times": ["2026-11-25T21:00:00Z", "2026-11-26T21:00:00Z"],
    "actor": "client:crm",
    "created_at": "2026-11-25T10:30:00Z",
    "updated_at": "2026-11-25T10:30:00Z",
}

SCHEDULE_WHOLE: dict[str, Any] = {
    **SCHEDULE,
    "runs": [
        {
            "due_at": "2026-11-24T21:00:00Z",
            "kind": "due",
            "state": "started",
            "n": 1,
            "note": None,
            "replay_id": _REPLAY_ID,
            "at": "2026-11-24T21:00:00.412000Z",
        }
    ],
}

READY_MADE: dict[str, Any] = {
    "name": "cloudagent-nightly",
    "about": "Every night: what failed in the last week for reasons on CloudAgent's side.",
    "fields": {"cron": "30 2 * * *", "time_zone": "Asia/Kolkata", "replay": _SCHEDULED},
}

BY_SHAPE: Mapping[str, dict[str, Any]] = {
    "ReplayIn": REPLAY_IN,
    "PlanOut": PLAN,
    "ReplayOut": REPLAY,
    "ReplayWhole": REPLAY_WHOLE,
    "ReplayPage": {"items": [REPLAY], "next": None},
    "ScheduleIn": SCHEDULE_IN,
    "ScheduleChange": {"paused": True, "reason": "CloudAgent is being moved"},
    "ScheduleOut": SCHEDULE,
    "ScheduleWhole": SCHEDULE_WHOLE,
    "BackfillIn": {"from": "2026-11-20T00:00:00Z", "to": "2026-11-22T00:00:00Z"},
    "ReadyMade": READY_MADE,
}
