"""What triggers keep beside the dispositions: counts, and failures in groups of what one correction mends."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from app.storage.tables.metadata import TIME, metadata

# Counts. A trigger appends what each statement changed; the scheduler folds it. Nobody waits for a hot row, and a
# count costs the same at any number of dispositions.
count_deltas = Table(
    "count_deltas",
    metadata,
    Column("at", TIME, nullable=False, server_default=func.now()),
    Column("account_id", Integer, nullable=False),
    Column("kind", Text, nullable=False),  # "state", "attempt", "latency", "latency_ms"
    Column("key", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
)

counts = Table(
    "counts",
    metadata,
    Column("account_id", Integer, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

counts_by_minute = Table(
    "counts_by_minute",
    metadata,
    Column("minute", TIME, primary_key=True),
    Column("account_id", Integer, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

# What failed, in groups of what one correction mends: the same account, cause, and thing to fix. Triggers put each
# disposition that fails into its group, and take it out again.
failures = Table(
    "failures",
    metadata,
    Column("id", Uuid, primary_key=True),  # a digest of what makes it one
    Column("account_id", Integer, nullable=False),
    Column("cause", Text, nullable=False),
    Column("thing", Text, nullable=False),  # a domain.failures.Thing
    Column("value", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("since", TIME, nullable=False),  # it was empty before
    Column("last_at", TIME, nullable=False),
    Column("sources", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("acknowledged_at", TIME),  # None: open, or it came back
    Column("acknowledged_by", Text),
    Column("note", Text),
)

failure_members = Table(
    "failure_members",
    metadata,
    Column("disposition_id", Uuid, primary_key=True),
    Column("failure_id", Uuid, nullable=False),
    Index("failure_members_newest", "failure_id", "disposition_id"),
)

# What the triggers appended. ``n`` below zero: so many have left, and nothing else is told.
failure_deltas = Table(
    "failure_deltas",
    metadata,
    Column("failure_id", Uuid, nullable=False),
    Column("account_id", Integer),
    Column("cause", Text),
    Column("thing", Text),
    Column("value", Text),
    Column("source", Text),
    Column("n", BigInteger, nullable=False),
    Column("first_at", TIME),
    Column("last_at", TIME),
)
