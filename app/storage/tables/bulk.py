"""What is done to many dispositions at once: replays, and the schedules that make them recur."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.storage.tables.metadata import TIME, created, metadata

# What is done to all dispositions that a filter takes (app/domain/replays.py). Whoever works at one holds its row.
replays = Table(
    "replays",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("action", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text),
    Column("accounts", ARRAY(Text), nullable=False),  # those of the bound key that asked for it; empty: all
    Column("filter", JSONB, nullable=False),
    Column("map", JSONB, nullable=False),
    Column("rate_per_second", Double, nullable=False),
    Column("max_items", Integer, nullable=False),
    Column("extend_max_age", Boolean, nullable=False),
    Column("stop_share", Double, nullable=False),
    Column("stop_after", Integer, nullable=False),
    Column("left_out", JSONB, nullable=False),  # how many of those that matched are no items, by why
    Column("account_ids", ARRAY(Integer), nullable=False),  # of its items
    # How many items stand where; each step that moves some moves these.
    Column("total", Integer, nullable=False),
    Column("waiting", Integer, nullable=False),
    Column("skipped", Integer, nullable=False, server_default="0"),
    Column("sent", Integer, nullable=False, server_default="0"),
    Column("delivered", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("superseded", Integer, nullable=False, server_default="0"),
    Column("cancelled", Integer, nullable=False, server_default="0"),
    Column("next_at", TIME, nullable=False, server_default=func.clock_timestamp()),  # of its next chunk
    Column("look_at", TIME, nullable=False, server_default=func.clock_timestamp()),  # what has become of what it sent
    created(),
    Column("started_at", TIME),
    Column("ended_at", TIME),
    Column("settled_at", TIME),
    Column("idempotency_key", Text),
    Column("print", LargeBinary),
    Column("schedule_id", Uuid),
    Index("replays_open", "next_at", postgresql_where=text("settled_at IS NULL")),
    Index("replays_of_schedule", "schedule_id", postgresql_where=text("schedule_id IS NOT NULL")),
    Index(
        "replays_keys", "actor", "idempotency_key", unique=True, postgresql_where=text("idempotency_key IS NOT NULL")
    ),
)

replay_items = Table(
    "replay_items",
    metadata,
    Column("replay_id", ForeignKey("replays.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("disposition_id", Uuid, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("result", Text, nullable=False, server_default="waiting"),
    Column("why", Text),
    Column("sent_id", Uuid),  # the disposition that was sent: itself, or the corrected one
    Column("at", TIME),  # when it came to this result
    Index("replay_items_waiting", "replay_id", "account_id", "position", postgresql_where=text("result = 'waiting'")),
    Index("replay_items_sent", "replay_id", "position", postgresql_where=text("result = 'sent'")),
)

# A replay that recurs (app/domain/schedules.py). Who acts on one holds its row.
schedules = Table(
    "schedules",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("cron", Text),  # or
    Column("every_seconds", Integer),
    Column("time_zone", Text, nullable=False),
    Column("replay", JSONB, nullable=False),  # as it was asked for: its times are relative to each run
    Column("accounts", ARRAY(Text), nullable=False),  # those of the bound key that made it; empty: all
    Column("overlap", Text, nullable=False),
    Column("catch_up_seconds", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    Column("next_at", TIME),
    Column("paused_at", TIME),
    created(),
    Column("updated_at", TIME, nullable=False, server_default=func.clock_timestamp()),
)

schedule_runs = Table(
    "schedule_runs",
    metadata,
    Column("schedule_id", ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True),
    Column("due_at", TIME, primary_key=True),
    Column("kind", Text, primary_key=True),  # "due", "now" or "backfill"
    Column("state", Text, nullable=False),
    Column("n", Integer, nullable=False, server_default="1"),  # so many missed ones in a row are one line
    Column("note", Text),
    Column("replay_id", Uuid),
    Column("at", TIME, nullable=False, server_default=func.clock_timestamp()),
    Index("schedule_runs_queued", "schedule_id", postgresql_where=text("state = 'queued'")),
)
