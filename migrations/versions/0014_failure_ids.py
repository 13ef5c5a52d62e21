"""The id of a failure tells nothing of what it is about.

Whoever knew what goes into the digest could try numbers until one gives the id in a link: a DID has few digits, and
of these the last four are shown to everybody.

Revision: 0014, after 0013.
"""

from alembic import op
from sqlalchemy import text

revision = "0014"
down_revision = "0013"

SALT = "ALTER TABLE accounts ADD COLUMN failure_salt UUID DEFAULT gen_random_uuid() NOT NULL"

_PLAIN = "jsonb_build_array(account_id, cause, thing, value)"
_SALT_OF_ACCOUNT = "(SELECT failure_salt FROM accounts WHERE accounts.id = account_id)"
_SALTED = f"jsonb_build_array({_SALT_OF_ACCOUNT}, account_id, cause, thing, value)"

# Acknowledgements, replays and schedules go on with the groups that they name.
RENAME = """
CREATE TEMPORARY TABLE renamed ON COMMIT DROP AS
    SELECT known.id AS old, md5({made_of}::text)::uuid AS new
    FROM (SELECT id, account_id, cause, thing, value FROM failures
          UNION
          SELECT failure_id, account_id, cause, thing, value FROM failure_deltas WHERE account_id IS NOT NULL) AS known;
UPDATE failures SET id = new FROM renamed WHERE id = old;
UPDATE failure_members SET failure_id = new FROM renamed WHERE failure_id = old;
UPDATE failure_deltas SET failure_id = new FROM renamed WHERE failure_id = old;
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT old::text, new::text FROM renamed LOOP
        UPDATE replays SET filter = replace(filter::text, one.old, one.new)::jsonb
        WHERE strpos(filter::text, one.old) > 0;
        UPDATE schedules SET replay = replace(replay::text, one.old, one.new)::jsonb
        WHERE strpos(replay::text, one.old) > 0;
    END LOOP;
END $$;
DROP TABLE renamed;
"""


def upgrade() -> None:
    op.execute(SALT)
    _make_ids_of(_SALTED, instead_of=_PLAIN)


def downgrade() -> None:
    _make_ids_of(_PLAIN, instead_of=_SALTED)
    op.execute("ALTER TABLE accounts DROP COLUMN failure_salt")


def _make_ids_of(made_of: str, *, instead_of: str) -> None:
    connection = op.get_bind()
    definition = connection.scalar(text("SELECT pg_get_functiondef('join_failures'::regproc)"))
    assert instead_of in definition
    connection.exec_driver_sql(definition.replace(instead_of, made_of).replace("%", "%%"))
    connection.exec_driver_sql(RENAME.format(made_of=made_of).replace("%", "%%"))
