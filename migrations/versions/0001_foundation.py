"""The foundation: accounts, calls with their lease, dispositions, attempts, events, keys, counts.

Revision: 0001, the first.
"""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE accounts (
    id INTEGER GENERATED ALWAYS AS IDENTITY,
    customer TEXT NOT NULL,
    api_key TEXT NOT NULL,
    base_url TEXT NOT NULL,
    path TEXT,
    api TEXT DEFAULT 'v3-query' NOT NULL,
    max_in_flight INTEGER DEFAULT 50 NOT NULL,
    rate_per_second DOUBLE PRECISION,
    callback_format TEXT DEFAULT 'ymd' NOT NULL,
    revision INTEGER DEFAULT 1 NOT NULL,
    hold_cause TEXT,
    hold_reason TEXT,
    held_at timestamptz,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (customer)
);

CREATE TABLE count_deltas (
    at timestamptz DEFAULT now() NOT NULL,
    account_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    n BIGINT NOT NULL
);

CREATE TABLE counts (
    account_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (account_id, kind, key)
);

CREATE TABLE counts_by_minute (
    minute timestamptz NOT NULL,
    account_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (minute, account_id, kind, key)
);

CREATE TABLE events (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at timestamptz DEFAULT clock_timestamp() NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    account_id INTEGER,
    disposition_id UUID,
    subject TEXT,
    from_state TEXT,
    to_state TEXT,
    reason TEXT,
    PRIMARY KEY (id)
);

CREATE INDEX events_by_time ON events USING brin (at);

CREATE INDEX events_of_disposition ON events (disposition_id) WHERE disposition_id IS NOT NULL;

CREATE TABLE idempotency_keys (
    client TEXT NOT NULL,
    account_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    print BYTEA NOT NULL,
    disposition_id UUID NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    PRIMARY KEY (client, account_id, key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE keys (
    id INTEGER GENERATED ALWAYS AS IDENTITY,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    digest BYTEA NOT NULL,
    scopes TEXT[] NOT NULL,
    accounts TEXT[] DEFAULT '{}' NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamptz,
    replaced_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (id),
    UNIQUE (digest)
);

CREATE UNIQUE INDEX keys_current ON keys (name) WHERE replaced_at IS NULL;

CREATE TABLE processes (
    id UUID NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    seen_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    consumed_at timestamptz,
    PRIMARY KEY (id)
);

CREATE TABLE calls (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    account_id INTEGER NOT NULL,
    ucid TEXT NOT NULL,
    last_seq INTEGER DEFAULT 0 NOT NULL,
    started_seq INTEGER DEFAULT 0 NOT NULL,
    newest_id UUID,
    newest_at timestamptz,
    newest_accepted_at timestamptz,
    newest_print BYTEA,
    epoch INTEGER DEFAULT 0 NOT NULL,
    lease_until timestamptz,
    next_at timestamptz,
    PRIMARY KEY (id),
    UNIQUE (ucid, account_id),
    FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX calls_due ON calls (account_id, next_at) WHERE lease_until IS NULL AND next_at IS NOT NULL;

CREATE INDEX calls_leased ON calls (account_id, lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE lanes (
    account_id INTEGER NOT NULL,
    served_at timestamptz DEFAULT '-infinity' NOT NULL,
    paced_until timestamptz DEFAULT '-infinity' NOT NULL,
    PRIMARY KEY (account_id),
    FOREIGN KEY(account_id) REFERENCES accounts (id) ON DELETE CASCADE
);

CREATE TABLE dispositions (
    id UUID NOT NULL,
    call_id BIGINT NOT NULL,
    seq INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    ucid TEXT NOT NULL,
    did TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    disposition TEXT NOT NULL,
    comments TEXT,
    callback_time timestamp,
    callback_time_zone TEXT,
    pause_after_dispose BOOLEAN DEFAULT false NOT NULL,
    pause_reason TEXT,
    reference TEXT,
    source TEXT,
    occurred_at timestamptz,
    state TEXT NOT NULL,
    outcome TEXT,
    cause TEXT,
    attempt_count INTEGER DEFAULT 0 NOT NULL,
    tries INTEGER DEFAULT 0 NOT NULL,
    callback_format TEXT,
    next_attempt_at timestamptz,
    max_age_seconds INTEGER NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamptz,
    expires_at timestamptz NOT NULL,
    superseded_by UUID,
    resent_from UUID,
    replay_id UUID,
    PRIMARY KEY (id),
    UNIQUE (call_id, seq),
    CONSTRAINT dispositions_state
        CHECK (state IN ('queued', 'sending', 'retrying', 'delivered', 'failed', 'superseded', 'cancelled')),
    FOREIGN KEY(call_id) REFERENCES calls (id)
);

CREATE INDEX dispositions_by_account ON dispositions (account_id, id);

CREATE INDEX dispositions_by_age ON dispositions USING brin (created_at);

CREATE INDEX dispositions_by_reference ON dispositions (reference) WHERE reference IS NOT NULL;

CREATE INDEX dispositions_expiring ON dispositions (expires_at) WHERE state IN ('queued', 'retrying');

CREATE INDEX dispositions_failed ON dispositions (account_id, cause, id) WHERE state = 'failed';

CREATE TABLE attempts (
    id UUID NOT NULL,
    disposition_id UUID NOT NULL,
    account_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    worker TEXT NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    outcome TEXT,
    certainty TEXT,
    http_status SMALLINT,
    reply_status TEXT,
    reply_details TEXT,
    latency_ms INTEGER,
    notes TEXT[] DEFAULT '{}' NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (disposition_id, number),
    FOREIGN KEY(disposition_id) REFERENCES dispositions (id) ON DELETE CASCADE
);
"""

# Appends to count_deltas what a statement changed. It is a trigger and not a habit of the code, so that no statement,
# not even one typed by hand during an incident, can change a state without being counted.
COUNTING = """
CREATE FUNCTION count_new_dispositions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO count_deltas (account_id, kind, key, n)
    SELECT account_id, 'state', concat_ws(':', state, cause), count(*)
    FROM entered GROUP BY account_id, state, cause;
    RETURN NULL;
END $$;

CREATE FUNCTION count_changed_dispositions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO count_deltas (account_id, kind, key, n)
    SELECT account_id, 'state', concat_ws(':', state, cause), sum(n)
    FROM (
        SELECT account_id, state, cause, 1 AS n FROM entered
        UNION ALL
        SELECT account_id, state, cause, -1 FROM departed
    ) AS change
    GROUP BY account_id, state, cause HAVING sum(n) <> 0;
    RETURN NULL;
END $$;

CREATE FUNCTION count_removed_dispositions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO count_deltas (account_id, kind, key, n)
    SELECT account_id, 'state', concat_ws(':', state, cause), -count(*)
    FROM departed GROUP BY account_id, state, cause;
    RETURN NULL;
END $$;

-- Attempts are counted when their outcome becomes known; latency in buckets whose key is the upper bound in ms.
CREATE FUNCTION count_finished_attempts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH finished AS (
        SELECT e.account_id, e.outcome, e.latency_ms
        FROM entered e JOIN departed d USING (id)
        WHERE e.outcome IS NOT NULL AND d.outcome IS NULL
    )
    INSERT INTO count_deltas (account_id, kind, key, n)
    SELECT account_id, 'attempt', outcome, count(*) FROM finished GROUP BY account_id, outcome
    UNION ALL
    SELECT account_id, 'latency',
           coalesce((ARRAY['5','10','25','50','100','250','500','1000','2500','5000','10000'])[
               1 + width_bucket(latency_ms - 1, ARRAY[5,10,25,50,100,250,500,1000,2500,5000,10000])], 'inf'),
           count(*)
    FROM finished WHERE latency_ms IS NOT NULL GROUP BY 1, 3
    UNION ALL
    SELECT account_id, 'latency_ms', 'sum', sum(latency_ms)
    FROM finished WHERE latency_ms IS NOT NULL GROUP BY account_id;
    RETURN NULL;
END $$;

CREATE TRIGGER count_new AFTER INSERT ON dispositions
    REFERENCING NEW TABLE AS entered
    FOR EACH STATEMENT EXECUTE FUNCTION count_new_dispositions();

CREATE TRIGGER count_changed AFTER UPDATE ON dispositions
    REFERENCING NEW TABLE AS entered OLD TABLE AS departed
    FOR EACH STATEMENT EXECUTE FUNCTION count_changed_dispositions();

CREATE TRIGGER count_removed AFTER DELETE ON dispositions
    REFERENCING OLD TABLE AS departed
    FOR EACH STATEMENT EXECUTE FUNCTION count_removed_dispositions();

CREATE TRIGGER count_finished AFTER UPDATE ON attempts
    REFERENCING NEW TABLE AS entered OLD TABLE AS departed
    FOR EACH STATEMENT EXECUTE FUNCTION count_finished_attempts();
"""

EVERYTHING = """
DROP TABLE
    accounts,
    count_deltas,
    counts,
    counts_by_minute,
    events,
    idempotency_keys,
    keys,
    processes,
    calls,
    lanes,
    dispositions,
    attempts CASCADE;
DROP FUNCTION count_new_dispositions, count_changed_dispositions, count_removed_dispositions, count_finished_attempts;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(COUNTING)


def downgrade() -> None:
    op.execute(EVERYTHING)
