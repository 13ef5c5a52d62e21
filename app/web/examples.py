"""One story for all examples of the API: a deal is won, its disposition delivered on the second attempt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DISPOSITION_ID = "01937c1e-7a80-7c3e-9f2b-6d1c5a4e8b90"

DISPOSITION_IN: dict[str, Any] = {
    "account": "acme",
    "ucid": "1234567890123456",
    "did": "918012345678",
    "agent_id": "a17",
    "disposition": "Sale",
    "reference": "deal-7",
}

RECEIPT: dict[str, Any] = {
    "id": DISPOSITION_ID,
    "state": "queued",
    "account": "acme",
    "ucid": "1234567890123456",
    "duplicate": False,
}

_ATTEMPTS: list[dict[str, Any]] = [
    {
        "id": "01937c1e-7b12-7d45-8a6f-2e9b7c3d1f04",
        "number": 1,
        "started_at": "2026-11-25T10:30:00.146000Z",
        "finished_at": "2026-11-25T10:30:00.187000Z",
        "outcome": "retry_later",
        "certainty": "answered",
        "http_status": 200,
        "reply_status": "Error",
        "reply_details": "Unable to Dispose . Please retry after some time.",
        "latency_ms": 41,
        "notes": [],
    },
    {
        "id": "01937c1e-8c9a-7b01-9d3e-4f5a6b7c8d9e",
        "number": 2,
        "started_at": "2026-11-25T10:30:04.634000Z",
        "finished_at": "2026-11-25T10:30:04.672000Z",
        "outcome": "saved",
        "certainty": "answered",
        "http_status": 200,
        "reply_status": "Success",
        "reply_details": "Disposition saved successfully",
        "latency_ms": 38,
        "notes": [],
    },
]

_EVENTS: list[dict[str, Any]] = [
    {
        "at": "2026-11-25T10:30:00Z",
        "actor": "client:crm",
        "action": "accepted",
        "from": None,
        "to": "queued",
        "reason": None,
    },
    {
        "at": "2026-11-25T10:30:04.673000Z",
        "actor": "worker",
        "action": "delivered",
        "from": "sending",
        "to": "delivered",
        "reason": None,
    },
]

SUMMARY: dict[str, Any] = {
    **RECEIPT,
    **DISPOSITION_IN,
    "comments": None,
    "callback_time": None,
    "callback_time_zone": None,
    "pause_after_dispose": False,
    "pause_reason": None,
    "source": None,
    "occurred_at": None,
    "state": "delivered",
    "outcome": "saved",
    "cause": None,
    "attempt_count": 2,
    "next_attempt_at": None,
    "created_at": "2026-11-25T10:30:00Z",
    "finished_at": "2026-11-25T10:30:04.673000Z",
    "expires_at": "2026-11-28T10:30:00Z",
    "superseded_by": None,
    "resent_from": None,
    "replay_id": None,
}
del SUMMARY["duplicate"]

WHOLE: dict[str, Any] = {**SUMMARY, "resent_as": None, "attempts": _ATTEMPTS, "events": _EVENTS}

PAGE: dict[str, Any] = {"items": [SUMMARY], "next": DISPOSITION_ID, "previous": None, "total": 1840, "partial": False}

BATCH_IN: dict[str, Any] = {
    "dispositions": [DISPOSITION_IN, {**DISPOSITION_IN, "account": "acmee", "idempotency_key": "row-2"}]
}

BATCH_OUT: dict[str, Any] = {
    "results": [
        {"index": 0, "status": 202, **RECEIPT},
        {
            "index": 1,
            "status": 422,
            "problem": {
                "type": "urn:wrapup:problem:invalid-input",
                "title": "Some fields are wrong",
                "status": 422,
                "detail": "1 field is wrong.",
                "errors": [
                    {"field": "account", "message": "There is no account 'acmee'. Check CloudAgent's user name."}
                ],
            },
        },
    ]
}

STATS: dict[str, Any] = {
    "at": "2026-11-25T10:35:00Z",
    "states": {
        "queued": 3,
        "sending": 1,
        "retrying": 2,
        "held": 0,
        "delivered": 1840,
        "failed": 4,
        "superseded": 12,
        "cancelled": 0,
    },
    "causes": {"invalid_agent": 4},
    "outcomes": {"invalid_agent": 4, "retry_later": 31, "saved": 1840},
    "accounts": {"acme": {"delivered": 1840, "failed": 4, "queued": 3, "retrying": 2, "sending": 1, "superseded": 12}},
    "oldest_due_seconds": 0.4,
    "rates_per_minute": {"delivered": 92.4, "failed": 0.2, "retrying": 1.6},
}

FAILURE: dict[str, Any] = {
    "id": "8f14e45f-ceea-467f-8a5d-3c1f0a9b2d77",
    "account": "acme",
    "cause": "invalid_agent",
    "thing": "agent_id",
    "value": "x7",
    "count": 214,
    "owner": "data",
    "hint": "Agent 'x7' does not exist in CloudAgent's account 'acme': correct the CRM's table of users, then resend "
    "these with the right agent.",
    "since": "2026-11-25T10:30:00Z",
    "last_at": "2026-11-25T11:02:00Z",
    "sources": ["client:crm"],
    "sample": DISPOSITION_ID,
    "reply": "Invalid agent",
    "acknowledged": True,
    "acknowledged_at": "2026-11-25T11:10:00Z",
    "acknowledged_by": "client:ops",
    "note": "Asha corrects the user map",
}

HOLD: dict[str, Any] = {
    "account": "globex",
    "cause": "authentication_failed",
    "reason": "HTTP 200: Fail Authentication fails",
    "held_at": "2026-11-25T11:00:00Z",
    "waiting": 31,
    "owner": "credentials",
    "hint": "CloudAgent refuses the credentials of 'globex': get the right apiKey and set it. That lifts the hold, and "
    "what waits goes out by itself.",
}

FAILURES: dict[str, Any] = {"items": [FAILURE], "total": 1, "holds": [HOLD]}

AUDIT_LINE: dict[str, Any] = {
    "id": 4711,
    "at": "2026-11-25T11:10:00Z",
    "actor": "client:ops",
    "action": "account held",
    "account": "acme",
    "disposition": None,
    "subject": "account:acme",
    "from": None,
    "to": None,
    "reason": "CloudAgent is being moved",
    "address": "203.0.113.7",
}

ACCOUNT_IN: dict[str, Any] = {
    "api_key": "KK0123456789abcdef0123456789abcdef",
    "base_url": "https://in1-ccaas-api.ozonetel.com",
    "max_in_flight": 50,
    "rate_per_second": 20,
}

TRIAL: dict[str, Any] = {
    "customer": "acme",
    "api": "v2-json-key",
    "ok": True,
    "checks": [
        {
            "name": "connection",
            "result": "ok",
            "found": "https://in1-ccaas-api.ozonetel.com answered over TLS after 41 ms",
            "todo": None,
        },
        {
            "name": "credentials",
            "result": "ok",
            "found": "accepted: CloudAgent lists the disposition codes for them",
            "todo": None,
        },
        {
            "name": "disposition",
            "result": "not_checked",
            "found": "nothing is disposed by a test, so it can't tell whether agents, codes and calls are known",
            "todo": "The first disposition shows it.",
        },
    ],
}

ACCOUNT: dict[str, Any] = {
    "customer": "acme",
    "base_url": "https://in1-ccaas-api.ozonetel.com",
    "path": None,
    "api": "v3-query",
    "max_in_flight": 50,
    "rate_per_second": 20,
    "callback_format": "ymd",
    "late_callback": "deliver",
    "on_hold": True,
    "hold_cause": "operator",
    "hold_reason": "CloudAgent is being moved",
    "held_at": "2026-11-25T10:00:00Z",
    "doubt": None,
    "probe_at": None,
    "learned_rate": None,
    "created_at": "2026-11-01T08:00:00Z",
    "updated_at": "2026-11-20T08:00:00Z",
}

REASON: dict[str, Any] = {"reason": "CloudAgent is being moved"}

KEY_IN: dict[str, Any] = {
    "name": "crm",
    "scopes": ["submit", "read"],
    "accounts": ["acme"],
    "expires_at": "2027-11-25T00:00:00Z",
}

KEY: dict[str, Any] = {
    "name": "crm",
    "prefix": "wk_5nFq2c",
    "scopes": ["read", "submit"],
    "accounts": ["acme"],
    "created_at": "2026-11-25T10:00:00Z",
    "expires_at": "2027-11-25T00:00:00Z",
    "replaced_at": None,
    "revoked_at": None,
    "last_used_at": "2026-11-25T10:30:00Z",
}

KEY_ONCE: dict[str, Any] = {**KEY, "last_used_at": None, "key": "wk_5nFq2c" + "…" * 3}

ROTATION: dict[str, Any] = {"grace_seconds": 86400, "reason": "yearly"}

USER_IN: dict[str, Any] = {"name": "asha", "role": "operator"}

USER_CHANGE: dict[str, Any] = {"disabled": True, "reason": "left the company"}

USER: dict[str, Any] = {
    "name": "asha",
    "role": "operator",
    "has_password": False,
    "created_at": "2026-11-25T10:00:00Z",
    "disabled_at": None,
    "signed_in_at": None,
}

USER_ONCE: dict[str, Any] = {**USER, "sign_in_link": "/sign-in/link?token=" + "…" * 3}

LINK_IN: dict[str, Any] = {"lifetime_seconds": 3600}

LIVE: dict[str, Any] = {"status": "live"}

READY: dict[str, Any] = {
    "status": "ready",
    "checks": {
        "database": {"ok": True, "detail": "answers"},
        "migrations": {"ok": True, "detail": "at 0001"},
        "delivery": {"ok": True, "detail": "a worker took a wake-up recently"},
    },
}

STREAM = """\
retry: 2000

id: 4711
event: change
data: {"at":"2026-11-25T10:30:04.673000Z","account":"acme","disposition":"01937c1e-7a80-7c3e-9f2b-6d1c5a4e8b90",\
"action":"delivered","from":"sending","to":"delivered","reason":null,"actor":"worker:host:1"}

"""

METRICS = """\
# HELP wrapup_dispositions Dispositions by state.
# TYPE wrapup_dispositions gauge
wrapup_dispositions{state="queued"} 3.0
"""

CORRECTION: dict[str, Any] = {"agent_id": "a17", "reason": "the CRM's user map was wrong"}

BY_SHAPE: Mapping[str, dict[str, Any]] = {
    "DispositionIn": DISPOSITION_IN,
    "ReceiptOut": RECEIPT,
    "BatchIn": BATCH_IN,
    "BatchOut": BATCH_OUT,
    "DispositionSummary": SUMMARY,
    "DispositionWhole": WHOLE,
    "DispositionPage": PAGE,
    "StatsOut": STATS,
    "FailureOut": FAILURE,
    "HoldOut": HOLD,
    "FailureList": FAILURES,
    "Note": {"note": "Asha corrects the user map"},
    "AuditLine": AUDIT_LINE,
    "AuditPage": {"items": [AUDIT_LINE], "next": None},
    "AccountIn": ACCOUNT_IN,
    "AccountOut": ACCOUNT,
    "TrialOut": TRIAL,
    "Why": REASON,
    "KeyIn": KEY_IN,
    "KeyOut": KEY,
    "KeyOnce": KEY_ONCE,
    "Rotation": ROTATION,
    "UserIn": USER_IN,
    "UserChange": USER_CHANGE,
    "UserOut": USER,
    "UserOnce": USER_ONCE,
    "LinkIn": LINK_IN,
    "Correction": CORRECTION,
    "Live": LIVE,
    "Ready": READY,
}
"""The example of each shape, but for those of replays and schedules (replay_examples.py). They don't stand with the
shapes, since FastAPI drops what is null in those."""
