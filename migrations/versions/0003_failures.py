"""Failures in groups, kept by triggers; from where people act.

Revision: 0003, after 0002.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = """
ALTER TABLE events ADD COLUMN address TEXT;

CREATE TABLE failures (
    id UUID NOT NULL,
    account_id INTEGER NOT NULL,
    cause TEXT NOT NULL,
    thing TEXT NOT NULL,
    value TEXT NOT NULL,
    n BIGINT NOT NULL,
    since timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    sources TEXT[] DEFAULT '{}' NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by TEXT,
    note TEXT,
    PRIMARY KEY (id)
);

CREATE TABLE failure_members (
    disposition_id UUID NOT NULL,
    failure_id UUID NOT NULL,
    PRIMARY KEY (disposition_id)
);

CREATE INDEX failure_members_newest ON failure_members (failure_id, disposition_id);

CREATE TABLE failure_deltas (
    failure_id UUID NOT NULL,
    account_id INTEGER,
    cause TEXT,
    thing TEXT,
    value TEXT,
    source TEXT,
    n BIGINT NOT NULL,
    first_at timestamptz,
    last_at timestamptz
);
"""

# Beside the triggers that count, and for the same reason: no statement can make a disposition fail, or take it out of
# that state, without its group's being told. A group is known by the digest of what makes it one, so that nobody has
# to look it up, or wait for who makes it.
GROUPING = r"""
CREATE FUNCTION join_failures(ids uuid[]) RETURNS void LANGUAGE sql AS $$
    WITH failed AS (
        SELECT d.id, d.account_id, coalesce(d.cause, '') AS cause, thing.name AS thing,
               coalesce(CASE thing.name
                   WHEN 'agent_id' THEN d.agent_id
                   WHEN 'did' THEN d.did
                   WHEN 'disposition' THEN d.disposition
                   WHEN 'callback_time_zone' THEN d.callback_time_zone
                   WHEN 'outcome' THEN d.outcome
                   WHEN 'hold' THEN accounts.hold_cause
                   WHEN 'account' THEN accounts.customer
                   -- Words that differ by a number only say the same.
                   WHEN 'reply' THEN (
                       SELECT left(trim(regexp_replace(
                                  regexp_replace(reply_details, '[0-9]+', '#', 'g'), '\s+', ' ', 'g')), 200)
                       FROM attempts WHERE disposition_id = d.id ORDER BY number DESC LIMIT 1)
               END, '') AS value,
               coalesce(d.source, (
                   -- ``OFFSET 0``: else the planner may go through all events in the order of their ids.
                   SELECT actor FROM (SELECT id, actor FROM events WHERE disposition_id = d.id OFFSET 0) AS told
                   ORDER BY told.id LIMIT 1)) AS source,
               coalesce(d.finished_at, now()) AS at
        FROM dispositions d JOIN accounts ON accounts.id = d.account_id
        CROSS JOIN LATERAL (SELECT CASE
            WHEN d.cause = 'invalid_agent' THEN 'agent_id'
            WHEN d.cause = 'invalid_call' THEN 'did'
            WHEN d.cause = 'empty_disposition' THEN 'disposition'
            WHEN d.cause = 'invalid_callback_time' THEN 'callback_time_zone'
            WHEN d.cause = 'refused' THEN 'reply'
            WHEN d.cause = 'expired' AND accounts.hold_cause IS NOT NULL THEN 'hold'
            WHEN d.cause IN ('attempts_exhausted', 'expired') THEN 'outcome'
            ELSE 'account' END AS name) AS thing
        WHERE d.id = ANY(ids)
    ), known AS (
        SELECT failed.*, md5(jsonb_build_array(account_id, cause, thing, value)::text)::uuid AS failure_id FROM failed
    ), joined AS (
        INSERT INTO failure_members (disposition_id, failure_id) SELECT id, failure_id FROM known
    )
    INSERT INTO failure_deltas (failure_id, account_id, cause, thing, value, source, n, first_at, last_at)
    SELECT failure_id, account_id, cause, thing, value, source, count(*), min(at), max(at)
    FROM known GROUP BY failure_id, account_id, cause, thing, value, source
$$;

CREATE FUNCTION leave_failures(ids uuid[]) RETURNS void LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM failure_members WHERE disposition_id = ANY(ids) RETURNING failure_id
    )
    INSERT INTO failure_deltas (failure_id, n) SELECT failure_id, -count(*) FROM gone GROUP BY failure_id
$$;

CREATE FUNCTION group_new_failures() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM entered WHERE state = 'failed') THEN
        PERFORM join_failures(ARRAY(SELECT id FROM entered WHERE state = 'failed'));
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION group_changed_failures() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[];
BEGIN
    IF EXISTS (SELECT FROM departed WHERE state = 'failed') THEN
        ids := ARRAY(SELECT d.id FROM departed d JOIN entered e USING (id)
                     WHERE d.state = 'failed' AND (e.state, e.cause) IS DISTINCT FROM (d.state, d.cause));
        PERFORM leave_failures(ids);
    END IF;
    IF EXISTS (SELECT FROM entered WHERE state = 'failed') THEN
        ids := ARRAY(SELECT e.id FROM entered e JOIN departed d USING (id)
                     WHERE e.state = 'failed' AND (e.state, e.cause) IS DISTINCT FROM (d.state, d.cause));
        PERFORM join_failures(ids);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION group_removed_failures() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM departed WHERE state = 'failed') THEN
        PERFORM leave_failures(ARRAY(SELECT id FROM departed WHERE state = 'failed'));
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER group_new AFTER INSERT ON dispositions
    REFERENCING NEW TABLE AS entered
    FOR EACH STATEMENT EXECUTE FUNCTION group_new_failures();

CREATE TRIGGER group_changed AFTER UPDATE ON dispositions
    REFERENCING NEW TABLE AS entered OLD TABLE AS departed
    FOR EACH STATEMENT EXECUTE FUNCTION group_changed_failures();

CREATE TRIGGER group_removed AFTER DELETE ON dispositions
    REFERENCING OLD TABLE AS departed
    FOR EACH STATEMENT EXECUTE FUNCTION group_removed_failures();
"""

WHAT_FAILED_BEFORE = "SELECT join_failures(ARRAY(SELECT id FROM dispositions WHERE state = 'failed'))"

EVERYTHING = """
DROP TRIGGER group_new ON dispositions;
DROP TRIGGER group_changed ON dispositions;
DROP TRIGGER group_removed ON dispositions;
DROP FUNCTION group_new_failures, group_changed_failures, group_removed_failures, join_failures, leave_failures;
DROP TABLE failures, failure_members, failure_deltas;
ALTER TABLE events DROP COLUMN address;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(GROUPING)
    op.execute(WHAT_FAILED_BEFORE)


def downgrade() -> None:
    op.execute(EVERYTHING)
