"""What a lane learns of its account: doubts and probes, failures in a window, a learned rate. Call-back times that have
passed, and calls of which nobody knows what CloudAgent got last.

Revision: 0004, after 0003.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

COLUMNS = """
ALTER TABLE lanes
    ADD COLUMN recent DOUBLE PRECISION DEFAULT 0 NOT NULL,
    ADD COLUMN doubt TEXT,
    ADD COLUMN probe_at timestamptz,
    ADD COLUMN failed_probes INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN window_at timestamptz,
    ADD COLUMN window_calls INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN window_failures INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN window_limited INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN learned_rate DOUBLE PRECISION,
    ADD COLUMN learned_at timestamptz;
ALTER TABLE accounts
    ADD COLUMN late_callback TEXT DEFAULT 'deliver' NOT NULL;
ALTER TABLE calls
    ADD COLUMN after_unknown_at timestamptz;
"""

GONE = """
ALTER TABLE calls DROP COLUMN after_unknown_at;
ALTER TABLE accounts DROP COLUMN late_callback;
ALTER TABLE lanes
    DROP COLUMN recent, DROP COLUMN doubt, DROP COLUMN probe_at, DROP COLUMN failed_probes, DROP COLUMN window_at,
    DROP COLUMN window_calls, DROP COLUMN window_failures, DROP COLUMN window_limited,
    DROP COLUMN learned_rate, DROP COLUMN learned_at;
"""


def upgrade() -> None:
    op.execute(COLUMNS)


def downgrade() -> None:
    op.execute(GONE)
