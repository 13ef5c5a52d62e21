"""Sources are looked up beside the dispositions, as agents are; failures by DID, code and source. Walks along lookups
see all of a row in the index.

Revision: 0012, after 0011.
"""

from alembic import op

revision = "0012"
down_revision = "0011"

_LOOKUPS = """
CREATE OR REPLACE FUNCTION add_lookups() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lookups (disposition_id, account_id, agent_id, did, disposition{column})
    SELECT id, account_id, agent_id, did, disposition{column} FROM entered;
    RETURN NULL;
END $$
"""

# A source never changes: in the disposition's own row its index got an entry with each change of the state.
_SOURCES = """
ALTER TABLE lookups ADD COLUMN source TEXT;
UPDATE lookups SET source = dispositions.source
FROM dispositions WHERE dispositions.id = lookups.disposition_id AND dispositions.source IS NOT NULL;
DROP INDEX dispositions_by_source;
"""

_COVERING = """
DROP INDEX lookups_by_agent, lookups_by_did, lookups_by_code;
CREATE INDEX lookups_by_agent ON lookups (account_id, agent_id, disposition_id) INCLUDE (did, disposition, source);
CREATE INDEX lookups_by_did ON lookups (account_id, did, disposition_id) INCLUDE (agent_id, disposition, source);
CREATE INDEX lookups_by_code ON lookups (account_id, disposition, disposition_id) INCLUDE (agent_id, did, source);
CREATE INDEX lookups_by_source ON lookups (account_id, source, disposition_id) INCLUDE (agent_id, did, disposition)
    WHERE source IS NOT NULL;
"""

# An index tells by itself what a row holds where vacuum has been, and by default it comes when a fifth is new: but the
# newest are what is looked at most.
_VACUUM = """
ALTER TABLE lookups SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000)
"""

_FAILED = """
CREATE INDEX dispositions_failed_by_did ON dispositions (account_id, did, id) WHERE state = 'failed';
CREATE INDEX dispositions_failed_by_code ON dispositions (account_id, disposition, id) WHERE state = 'failed';
CREATE INDEX dispositions_failed_by_source ON dispositions (account_id, source, id)
    WHERE state = 'failed' AND source IS NOT NULL;
"""

_BACK = """
DROP INDEX dispositions_failed_by_did, dispositions_failed_by_code, dispositions_failed_by_source;
CREATE INDEX dispositions_by_source ON dispositions (source, id) WHERE source IS NOT NULL;
DROP INDEX lookups_by_agent, lookups_by_did, lookups_by_code, lookups_by_source;
CREATE INDEX lookups_by_agent ON lookups (account_id, agent_id, disposition_id);
CREATE INDEX lookups_by_did ON lookups (account_id, did, disposition_id);
CREATE INDEX lookups_by_code ON lookups (account_id, disposition, disposition_id);
ALTER TABLE lookups DROP COLUMN source;
ALTER TABLE lookups RESET (autovacuum_vacuum_insert_scale_factor, autovacuum_vacuum_insert_threshold);
"""


def upgrade() -> None:
    op.execute(_SOURCES)
    op.execute(_LOOKUPS.format(column=", source"))
    op.execute(_COVERING)
    op.execute(_VACUUM)
    op.execute(_FAILED)


def downgrade() -> None:
    op.execute(_LOOKUPS.format(column=""))
    op.execute(_BACK)
