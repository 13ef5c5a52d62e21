"""Dispositions that wait, put into the tables at once: for Wrapup, and for the usual way of the others."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
import redis

_CALLS = """
        INSERT INTO calls (account_id, ucid, last_seq, newest_id, newest_at, newest_accepted_at, newest_print, next_at)
        SELECT accounts.id, (10 ^ 15 + n)::bigint::text, 1, uuidv7(), now(), now(), sha256(n::text::bytea), now()
"""

_STORED = """
        RETURNING id, account_id, ucid, newest_id
    ), stored AS (
        INSERT INTO dispositions (id, call_id, seq, account_id, ucid, did, agent_id, disposition, comments, reference,
                                  state, max_age_seconds, expires_at)
        SELECT newest_id, id, 1, account_id, ucid, '918012345678', 'a17', 'Sale', 'Customer will pay by card on Friday',
               'deal-' || ucid, 'queued', 259200, now() + interval '3 days' FROM call
    )
    INSERT INTO events (actor, action, account_id, disposition_id, to_state)
    SELECT 'client:bench', 'accepted', account_id, newest_id, 'queued' FROM call
"""

_WRAPUP = f"""
    WITH call AS ({_CALLS}
        FROM generate_series(1, %(number)s) AS n
        JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place, count(*) OVER () AS number FROM accounts) AS accounts
          ON accounts.place = n %% accounts.number + 1
    {_STORED}
"""

_EACH = f"""
    WITH call AS ({_CALLS}
        FROM unnest(CAST(%(customers)s AS text[]), CAST(%(numbers)s AS int[])) AS wanted(customer, number)
        JOIN accounts USING (customer) CROSS JOIN LATERAL generate_series(1, wanted.number) AS n
    {_STORED}
"""

_USUAL = """
    INSERT INTO usual_dispositions (id, call_id, seq, account_id, ucid, did, agent_id, disposition, comments, reference,
                                    state, max_age_seconds, expires_at)
    SELECT uuidv7(), n, 1, (SELECT min(id) FROM accounts), (10 ^ 15 + n)::bigint::text, '918012345678', 'a17', 'Sale',
           'Customer will pay by card on Friday', 'deal-' || n, 'queued', 259200, now() + interval '3 days'
    FROM generate_series(1, %(number)s) AS n
    RETURNING id::text
"""

_ONE_USUAL = """
    INSERT INTO usual_dispositions (id, call_id, seq, account_id, ucid, did, agent_id, disposition, state,
                                    max_age_seconds, expires_at)
    SELECT uuidv7(), %(ucid)s::bigint, 1, min(id), %(ucid)s, '918012345678', 'a17', 'Sale', 'queued', 259200,
           now() + interval '3 days' FROM accounts
    RETURNING id
"""

_DELIVERED = """
    WITH call AS (
        INSERT INTO calls (account_id, ucid, last_seq, started_seq, newest_id, newest_at, newest_accepted_at, epoch)
        SELECT accounts.id, (9 * 10 ^ 15 + n)::bigint::text, 1, 1, uuidv7(), now(), now(), 1
        FROM generate_series(CAST(%(first)s AS int), CAST(%(last)s AS int)) AS n
        JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place, count(*) OVER () AS number FROM accounts) AS accounts
          ON accounts.place = n %% accounts.number + 1
        RETURNING id, account_id, ucid, newest_id
    ), stored AS (
        INSERT INTO dispositions (id, call_id, seq, account_id, ucid, did, agent_id, disposition, state, outcome,
                                  attempt_count, tries, max_age_seconds, expires_at, finished_at)
        SELECT newest_id, id, 1, account_id, ucid, '918012345678', 'a17', 'Sale', 'delivered', 'saved', 1, 1, 259200,
               now() + interval '3 days', now() FROM call
        RETURNING id, account_id
    ), attempt AS (
        INSERT INTO attempts (id, disposition_id, account_id, number, epoch, worker, started_at, finished_at, outcome,
                              certainty, http_status, reply_status, reply_details, latency_ms)
        SELECT uuidv7(), id, account_id, 1, 1, 'bench', now(), now(), 'saved', 'answered', 200, 'Success',
               'Disposition saved successfully', 5 FROM stored
    )
    INSERT INTO events (actor, action, account_id, disposition_id, from_state, to_state)
    SELECT 'bench', told.action, account_id, id, told.from_state, told.to_state
    FROM stored, (VALUES ('accepted', NULL, 'queued'), ('delivered', 'sending', 'delivered'))
         AS told(action, from_state, to_state)
"""
_PIECE = 50_000


def crowd(database_url: str, number: int) -> None:
    """So many delivered dispositions of calls of their own, spread over all accounts, with attempt and events."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for first in range(0, number, _PIECE):
            connection.execute(_DELIVERED, {"first": first, "last": min(first + _PIECE, number) - 1})
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def fill(database_url: str, number: int) -> None:
    """So many due calls, spread over all accounts, each with one disposition. They become due all at once."""
    with psycopg.connect(database_url) as connection:
        connection.execute(_WRAPUP.encode(), {"number": number})
        connection.execute("ANALYZE calls, dispositions, attempts, events")


def fill_each(database_url: str, waiting: Mapping[str, int]) -> None:
    """So many due calls for each of these accounts, each with one disposition. They become due all at once."""
    with psycopg.connect(database_url) as connection:
        connection.execute(_EACH.encode(), {"customers": list(waiting), "numbers": list(waiting.values())})
        connection.execute("ANALYZE calls, dispositions, attempts, events")


def fill_usual(database_url: str, number: int) -> list[str]:
    """So many dispositions of the usual way; gives their ids."""
    with psycopg.connect(database_url) as connection:
        ids = [one for (one,) in connection.execute(_USUAL, {"number": number})]
        connection.execute("ANALYZE usual_dispositions, usual_attempts, usual_events")
        return ids


def clear(database_url: str, broker_url: str) -> None:
    """Takes away all dispositions, jobs and messages."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE calls, dispositions, attempts, events, count_deltas, counts, counts_by_minute")
        connection.execute("TRUNCATE usual_dispositions, usual_attempts, usual_events, procrastinate_jobs CASCADE")
        connection.execute("CHECKPOINT")
    with redis.Redis(unix_socket_path=broker_url.partition("://")[2].partition("?")[0]) as broker:
        broker.flushall()


def store_usual(connection: psycopg.Connection, ucid: str) -> str:
    """One disposition of the usual way, committed; gives its id."""
    row = connection.execute(_ONE_USUAL, {"ucid": ucid}).fetchone()
    assert row is not None
    return str(row[0])
