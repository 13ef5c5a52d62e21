"""Schedules and the history of their runs.

Revision: 0010, after 0009.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

TABLES = """
CREATE TABLE schedules (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    cron TEXT,
    every_seconds INTEGER,
    time_zone TEXT NOT NULL,
    replay JSONB NOT NULL,
    accounts TEXT[] NOT NULL,
    overlap TEXT NOT NULL,
    catch_up_seconds INTEGER NOT NULL,
    actor TEXT NOT NULL,
    next_at timestamptz,
    paused_at timestamptz,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (name)
);

CREATE TABLE schedule_runs (
    schedule_id UUID NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
    due_at timestamptz NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    n INTEGER DEFAULT 1 NOT NULL,
    note TEXT,
    replay_id UUID,
    at timestamptz DEFAULT clock_timestamp() NOT NULL,
    PRIMARY KEY (schedule_id, due_at, kind)
);
CREATE INDEX schedule_runs_queued ON schedule_runs (schedule_id) WHERE state = 'queued';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE schedule_runs, schedules")
