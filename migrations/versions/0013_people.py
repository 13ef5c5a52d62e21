"""The audit trail of what people did, in its order.

Revision: 0013, after 0012.
"""

from alembic import op

revision = "0013"
down_revision = "0012"

INDEX = """
CREATE INDEX events_of_people ON events (id)
    WHERE actor NOT LIKE 'client:%' AND actor NOT LIKE 'source:%' AND actor NOT LIKE 'worker:%'
      AND actor NOT LIKE 'schedule%';
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(INDEX.replace("%", "%%"))


def downgrade() -> None:
    op.execute("DROP INDEX events_of_people")
