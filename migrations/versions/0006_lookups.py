"""What lists are walked along: agent, DID and code beside the dispositions; state, reference and source within them.

Revision: 0006, after 0005.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

# A disposition is written again each time its state changes, and with it an entry in each of its indexes. What never
# changes is therefore indexed beside it, once.
LOOKUPS = """
CREATE TABLE lookups (
    disposition_id UUID NOT NULL,
    account_id INTEGER NOT NULL,
    agent_id TEXT NOT NULL,
    did TEXT NOT NULL,
    disposition TEXT NOT NULL
);

CREATE FUNCTION add_lookups() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lookups (disposition_id, account_id, agent_id, did, disposition)
    SELECT id, account_id, agent_id, did, disposition FROM entered;
    RETURN NULL;
END $$;

CREATE FUNCTION remove_lookups() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM lookups USING departed
    WHERE lookups.account_id = departed.account_id AND lookups.agent_id = departed.agent_id
      AND lookups.disposition_id = departed.id;
    RETURN NULL;
END $$;

CREATE TRIGGER look_up_new AFTER INSERT ON dispositions
    REFERENCING NEW TABLE AS entered
    FOR EACH STATEMENT EXECUTE FUNCTION add_lookups();

CREATE TRIGGER look_up_removed AFTER DELETE ON dispositions
    REFERENCING OLD TABLE AS departed
    FOR EACH STATEMENT EXECUTE FUNCTION remove_lookups();

INSERT INTO lookups (disposition_id, account_id, agent_id, did, disposition)
SELECT id, account_id, agent_id, did, disposition FROM dispositions ORDER BY id;

CREATE INDEX lookups_by_agent ON lookups (account_id, agent_id, disposition_id);
CREATE INDEX lookups_by_did ON lookups (account_id, did, disposition_id);
CREATE INDEX lookups_by_code ON lookups (account_id, disposition, disposition_id);
"""

WITHIN = """
DROP INDEX dispositions_by_account;
CREATE INDEX dispositions_by_state ON dispositions (account_id, state, id);
DROP INDEX dispositions_by_reference;
CREATE INDEX dispositions_by_reference ON dispositions (reference, id) WHERE reference IS NOT NULL;
CREATE INDEX dispositions_by_source ON dispositions (source, id) WHERE source IS NOT NULL;
"""

EVERYTHING = """
DROP TRIGGER look_up_new ON dispositions;
DROP TRIGGER look_up_removed ON dispositions;
DROP FUNCTION add_lookups, remove_lookups;
DROP TABLE lookups;
DROP INDEX dispositions_by_state, dispositions_by_reference, dispositions_by_source;
CREATE INDEX dispositions_by_account ON dispositions (account_id, id);
CREATE INDEX dispositions_by_reference ON dispositions (reference) WHERE reference IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(LOOKUPS)
    op.execute(WITHIN)


def downgrade() -> None:
    op.execute(EVERYTHING)
