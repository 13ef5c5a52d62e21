"""CloudAgent's tokens, one for each account whose flavour asks for one, shared by all workers.

Revision: 0009, after 0008.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

TOKENS = """
CREATE TABLE tokens (
    account_id INTEGER NOT NULL,
    token TEXT,
    number INTEGER DEFAULT 0 NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE,
    accepted BOOLEAN DEFAULT false NOT NULL,
    epoch INTEGER DEFAULT 0 NOT NULL,
    asking_until TIMESTAMP WITH TIME ZONE,
    asked TIMESTAMP WITH TIME ZONE[] DEFAULT '{}' NOT NULL,
    blocked_until TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (account_id),
    FOREIGN KEY(account_id) REFERENCES accounts (id) ON DELETE CASCADE
);
"""


def upgrade() -> None:
    op.execute(TOKENS)


def downgrade() -> None:
    op.execute("DROP TABLE tokens")
