"""Replays and their items.

Revision: 0008, after 0007.
"""

from alembic import op

revision = "0008"
down_revision = "0007"

TABLES = """
CREATE TABLE replays (
    id UUID NOT NULL,
    action TEXT NOT NULL,
    state TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT,
    accounts TEXT[] NOT NULL,
    filter JSONB NOT NULL,
    map JSONB NOT NULL,
    rate_per_second DOUBLE PRECISION NOT NULL,
    max_items INTEGER NOT NULL,
    extend_max_age BOOLEAN NOT NULL,
    stop_share DOUBLE PRECISION NOT NULL,
    stop_after INTEGER NOT NULL,
    left_out JSONB NOT NULL,
    account_ids INTEGER[] NOT NULL,
    total INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    skipped INTEGER DEFAULT 0 NOT NULL,
    sent INTEGER DEFAULT 0 NOT NULL,
    delivered INTEGER DEFAULT 0 NOT NULL,
    failed INTEGER DEFAULT 0 NOT NULL,
    superseded INTEGER DEFAULT 0 NOT NULL,
    cancelled INTEGER DEFAULT 0 NOT NULL,
    next_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    look_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    settled_at timestamptz,
    idempotency_key TEXT,
    print BYTEA,
    schedule_id UUID,
    PRIMARY KEY (id)
);
CREATE INDEX replays_open ON replays (next_at) WHERE settled_at IS NULL;
CREATE INDEX replays_of_schedule ON replays (schedule_id) WHERE schedule_id IS NOT NULL;
CREATE UNIQUE INDEX replays_keys ON replays (actor, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE replay_items (
    replay_id UUID NOT NULL REFERENCES replays (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    disposition_id UUID NOT NULL,
    account_id INTEGER NOT NULL,
    result TEXT DEFAULT 'waiting' NOT NULL,
    why TEXT,
    sent_id UUID,
    at timestamptz,
    PRIMARY KEY (replay_id, position)
);
CREATE INDEX replay_items_waiting ON replay_items (replay_id, account_id, position) WHERE result = 'waiting';
CREATE INDEX replay_items_sent ON replay_items (replay_id, position) WHERE result = 'sent';

CREATE INDEX dispositions_resent ON dispositions (resent_from) WHERE resent_from IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP INDEX dispositions_resent; DROP TABLE replay_items, replays")
