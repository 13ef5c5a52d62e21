"""The audit trail by subject, action and person, without what happens to each disposition.

Revision: 0007, after 0006.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

INDEXES = """
CREATE INDEX events_of_subject ON events (subject, id) WHERE subject IS NOT NULL;
CREATE INDEX events_by_action ON events (action, id)
    WHERE action NOT IN ('accepted', 'delivered', 'failed', 'superseded');
CREATE INDEX events_by_person ON events (actor, id)
    WHERE actor NOT LIKE 'client:%' AND actor NOT LIKE 'source:%' AND actor NOT LIKE 'worker:%'
      AND actor NOT LIKE 'scheduler%';
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(INDEXES.replace("%", "%%"))


def downgrade() -> None:
    op.execute("DROP INDEX events_of_subject, events_by_action, events_by_person")
