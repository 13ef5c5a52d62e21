"""A database as it looks after months: accounts, agents, codes and DIDs, most of it delivered, some of it not.

Agents keep to some codes and DIDs, so there are pairs that are common each and never come together. There is a code
that has gone out of use, an agent who came after that, and one who is hardly ever there.

Made in SQL, in pieces, through the triggers that count and group, so that all that reads looks at what it would find.
"""

from __future__ import annotations

from datetime import timedelta

import psycopg

ACCOUNTS = 5
DAYS = 60
_PIECE = 50_000

# What becomes of one of a thousand: 20 fail, 20 are superseded, and the very newest may still be waiting.
_PIECE_OF_IT = f"""
    WITH made AS MATERIALIZED (
        SELECT n, uuidv7(shift) AS id, now() + shift AS at, 1 + n %% {ACCOUNTS} AS account_id,
               CASE WHEN n %% 49999 = 0 THEN 'rare' WHEN n %% 101 = 0 AND n > %(number)s * 0.8 THEN 'late'
                    ELSE 'a' || (n * 7919) %% 300 END AS agent_id,
               '9180' || 10000000 + (n * 104729) %% 40 AS did,
               CASE WHEN n %% 53 = 0 AND n < %(number)s * 0.6 THEN 'Old code' ELSE
                   (ARRAY['Sale', 'No sale', 'Call back', 'Not interested', 'Wrong number', 'Voice mail'])
                       [1 + (n * 31) %% 6] END AS code,
               (n * 15485863) %% 1000 AS lot
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
             LATERAL (SELECT ((n - %(number)s)::float8 / %(number)s) * %(span)s::interval AS shift)
    ), fated AS MATERIALIZED (
        SELECT *, CASE WHEN n > %(number)s - 200 THEN (ARRAY['queued', 'retrying'])[1 + n %% 2]
                       WHEN lot < 20 THEN 'failed' WHEN lot < 40 THEN 'superseded' WHEN lot = 40 THEN 'cancelled'
                       ELSE 'delivered' END AS state,
               CASE WHEN lot < 20 AND n <= %(number)s - 200 THEN
                   (ARRAY['invalid_agent', 'invalid_agent', 'empty_disposition', 'refused', 'invalid_call'])
                       [1 + lot %% 5] END AS cause
        FROM made
    ), call AS (
        INSERT INTO calls (account_id, ucid, last_seq, started_seq, newest_id, newest_at, newest_accepted_at, next_at)
        SELECT account_id, (2 * 10 ^ 15 + n)::bigint::text, 1, 1, id, at, at,
               CASE WHEN state = 'retrying' THEN now() + interval '1 hour' END
        FROM fated
        RETURNING id AS call_id, ucid, newest_id
    ), tried AS (
        INSERT INTO attempts (id, disposition_id, account_id, number, epoch, worker, started_at, finished_at, outcome,
                              certainty, http_status, reply_status, reply_details, latency_ms)
        SELECT id, id, account_id, 1, 1, 'worker:host:1', at, at + interval '40 ms', coalesce(cause, 'saved'),
               'answered', 200, CASE WHEN cause IS NULL THEN 'Success' ELSE 'Fail' END,
               CASE cause WHEN 'invalid_agent' THEN 'Invalid agent'
                    WHEN 'empty_disposition' THEN 'Empty disposition code'
                    WHEN 'refused' THEN 'Call ' || n || ' is locked' WHEN 'invalid_call' THEN 'Invalid UCID'
                    ELSE 'Disposition saved successfully' END, 20 + lot %% 60
        FROM fated WHERE state <> 'queued'
    ), told AS (
        INSERT INTO events (at, actor, action, account_id, disposition_id, from_state, to_state, reason)
        SELECT at, 'client:crm-' || account_id, 'accepted', account_id, id, NULL, 'queued', NULL FROM fated
        UNION ALL
        SELECT at + interval '1 s', 'worker:host:1', state, account_id, id, 'sending', state, cause
        FROM fated WHERE state IN ('delivered', 'failed', 'superseded', 'cancelled')
        ORDER BY 1
    )
    INSERT INTO dispositions (id, call_id, seq, account_id, ucid, did, agent_id, disposition, comments, reference,
                              source, state, outcome, cause, attempt_count, tries, max_age_seconds, created_at,
                              expires_at, finished_at, next_attempt_at)
    SELECT id, call_id, 1, account_id, ucid, did,
           CASE WHEN cause = 'invalid_agent' THEN 'x' || n %% 40 ELSE agent_id END,
           CASE WHEN cause = 'empty_disposition' THEN 'Sle' || n %% 5 ELSE code END, 'Customer pays by card',
           CASE WHEN n %% 2 = 0 THEN 'deal-' || n END, CASE WHEN n %% 10 = 0 THEN 'hubspot' END,
           state, coalesce(cause, CASE WHEN state = 'delivered' THEN 'saved' END), cause, 1, 1, 259200, at,
           greatest(at, now()) + interval '3 days', CASE WHEN state NOT IN ('queued', 'retrying') THEN at END,
           CASE WHEN state = 'retrying' THEN now() + interval '1 hour' END
    FROM fated JOIN call ON call.newest_id = fated.id
"""

_ACCOUNT = """
    INSERT INTO accounts (customer, api_key, base_url)
    SELECT 'account-' || n, '', 'http://127.0.0.1' FROM generate_series(1, %s) AS n
"""

_BY_HAND = """
    INSERT INTO events (actor, action, account_id, subject, reason, address)
    SELECT 'client:ops', 'account held', 1 + n % 5, 'account:account-' || 1 + n % 5, 'maintenance', '203.0.113.7'
    FROM generate_series(1, 200) AS n
"""

# Vacuum takes a page for visible to all only if what wrote it is known to be on disk.
_PATIENTLY = "SET statement_timeout = 0; SET synchronous_commit = on"


def fill(database_url: str, number: int, *, days: int = DAYS) -> None:
    """Fills an empty, migrated database with so many dispositions of the last ``days``; then folds what was counted."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_PATIENTLY)
        connection.execute(_ACCOUNT, (ACCOUNTS,))
        for first in range(1, number + 1, _PIECE):
            values = {"first": first, "last": min(first + _PIECE - 1, number), "number": number}
            connection.execute(_PIECE_OF_IT, {**values, "span": timedelta(days=days)})
        connection.execute(_BY_HAND)
        connection.execute("VACUUM ANALYZE")
