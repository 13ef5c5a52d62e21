"""The tables. The migrations make them; ``alembic check`` in the tests proves that both say the same."""

from __future__ import annotations

from app.storage.tables.access import keys, sessions, sign_in_links, users
from app.storage.tables.bulk import replay_items, replays, schedule_runs, schedules
from app.storage.tables.counting import (
    count_deltas,
    counts,
    counts_by_minute,
    failure_deltas,
    failure_members,
    failures,
)
from app.storage.tables.delivery import (
    accounts,
    attempts,
    calls,
    dispositions,
    events,
    idempotency_keys,
    lanes,
    lookups,
    processes,
    tokens,
)
from app.storage.tables.metadata import metadata

__all__ = [
    "accounts",
    "attempts",
    "calls",
    "count_deltas",
    "counts",
    "counts_by_minute",
    "dispositions",
    "events",
    "failure_deltas",
    "failure_members",
    "failures",
    "idempotency_keys",
    "keys",
    "lanes",
    "lookups",
    "metadata",
    "processes",
    "replay_items",
    "replays",
    "schedule_runs",
    "schedules",
    "sessions",
    "sign_in_links",
    "tokens",
    "users",
]
