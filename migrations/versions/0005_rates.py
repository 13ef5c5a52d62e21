"""How much each process gets done.

Revision: 0005, after 0004.
"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("ALTER TABLE processes ADD COLUMN rate DOUBLE PRECISION DEFAULT 0 NOT NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE processes DROP COLUMN rate")
