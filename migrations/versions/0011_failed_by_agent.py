"""An agent's failures, found along an index of their own.

Revision: 0011, after 0010.
"""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute(
        "CREATE INDEX dispositions_failed_by_agent ON dispositions (account_id, agent_id, id) WHERE state = 'failed'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX dispositions_failed_by_agent")
