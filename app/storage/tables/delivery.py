"""Accounts and calls, dispositions with their attempts and events, and the processes that deliver."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)

from app.storage.tables.metadata import TIME, created, metadata

accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("customer", Text, nullable=False, unique=True),
    Column("api_key", Text, nullable=False),  # a Fernet token
    Column("base_url", Text, nullable=False),
    Column("path", Text),  # None: the documented one of the API
    Column("api", Text, nullable=False, server_default="v3-query"),
    Column("max_in_flight", Integer, nullable=False, server_default="50"),
    Column("rate_per_second", Double),  # None: as fast as it takes them
    Column("callback_format", Text, nullable=False, server_default="ymd"),
    Column(
        "late_callback", Text, nullable=False, server_default="deliver"
    ),  # or "review" (app/domain/callback_time.py)
    # Grows with each new key and each release: a refusal that was on its way before can't hold the account again.
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("hold_cause", Text),  # None: not on hold. "operator", or the outcome that caused it
    Column("hold_reason", Text),
    Column("held_at", TIME),
    created(),
    Column("updated_at", TIME, nullable=False, server_default=func.clock_timestamp()),
    Column("failure_salt", Uuid, nullable=False, server_default=func.gen_random_uuid()),  # of its failures' ids
)

# What claiming writes of an account, apart from it, so that claims don't churn the row that everybody reads.
lanes = Table(
    "lanes",
    metadata,
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("served_at", TIME, nullable=False, server_default=text("'-infinity'")),
    Column("paced_until", TIME, nullable=False, server_default=text("'-infinity'")),  # GCRA: theoretical arrival
    Column("recent", Double, nullable=False, server_default="0"),  # calls lately; fades with the time since served_at
    # What was learned of the account (app/domain/lane.py).
    Column("doubt", Text),  # None: open; "breaker" or "credentials": one call at a time, a probe
    Column("probe_at", TIME),
    Column("failed_probes", Integer, nullable=False, server_default="0"),
    Column("window_at", TIME),
    Column("window_calls", Integer, nullable=False, server_default="0"),
    Column("window_failures", Integer, nullable=False, server_default="0"),
    Column("window_limited", Integer, nullable=False, server_default="0"),
    Column("learned_rate", Double),
    Column("learned_at", TIME),
)

# CloudAgent's token of an account whose flavour asks for one, and what keeps its workers from asking for too many.
tokens = Table(
    "tokens",
    metadata,
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("token", Text),  # a Fernet token; None: there is none that serves
    Column("number", Integer, nullable=False, server_default="0"),  # grows with each token
    Column("made_at", TIME),  # when it was asked for
    Column("accepted", Boolean, nullable=False, server_default=text("false")),  # a call with it was answered
    # Who asks for the next one: its right ends with ``asking_until``, or when ``epoch`` has grown.
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("asking_until", TIME),
    Column("asked", ARRAY(TIME), nullable=False, server_default=text("'{}'")),  # the requests of the last hour
    Column("blocked_until", TIME),  # CloudAgent said that it was too many
)

calls = Table(
    "calls",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("ucid", Text, nullable=False),
    # The order of its dispositions.
    Column("last_seq", Integer, nullable=False, server_default="0"),
    Column("started_seq", Integer, nullable=False, server_default="0"),  # the highest that was ever sent
    # The newest disposition: when it happened, when it came, and what it asked for.
    Column("newest_id", Uuid),
    Column("newest_at", TIME),
    Column("newest_accepted_at", TIME),
    Column("newest_print", LargeBinary),
    # The lease. ``next_at``: something waits, and is due then (or a little later, never earlier).
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("lease_until", TIME),
    Column("next_at", TIME),
    # When one was last sent although an older one, of unknown outcome, may have reached CloudAgent after it.
    Column("after_unknown_at", TIME),
    UniqueConstraint("ucid", "account_id"),  # in this order it serves the search for a UCID as well
    Index(
        "calls_due",
        "account_id",
        "next_at",
        postgresql_where=text("lease_until IS NULL AND next_at IS NOT NULL"),
    ),
    Index("calls_leased", "account_id", "lease_until", postgresql_where=text("lease_until IS NOT NULL")),
)

dispositions = Table(
    "dispositions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("call_id", ForeignKey("calls.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("ucid", Text, nullable=False),
    Column("did", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("disposition", Text, nullable=False),
    Column("comments", Text),
    Column("callback_time", DateTime(timezone=False)),  # wall time in callback_time_zone
    Column("callback_time_zone", Text),
    Column("pause_after_dispose", Boolean, nullable=False, server_default=text("false")),
    Column("pause_reason", Text),
    Column("reference", Text),
    Column("source", Text),
    Column("occurred_at", TIME),
    Column("state", Text, nullable=False),
    Column("outcome", Text),
    Column("cause", Text),
    Column("attempt_count", Integer, nullable=False, server_default="0"),  # attempt rows
    Column("tries", Integer, nullable=False, server_default="0"),  # those that count against MAX_ATTEMPTS
    Column("callback_format", Text),  # overrides the account's, once it was refused
    Column("next_attempt_at", TIME),
    Column("max_age_seconds", Integer, nullable=False),
    created(),
    Column("finished_at", TIME),
    Column("expires_at", TIME, nullable=False),
    Column("superseded_by", Uuid),
    Column("resent_from", Uuid),
    Column("replay_id", Uuid),
    UniqueConstraint("call_id", "seq"),
    CheckConstraint(
        "state IN ('queued', 'sending', 'retrying', 'delivered', 'failed', 'superseded', 'cancelled')",
        name="dispositions_state",
    ),
    Index(
        "dispositions_expiring",
        "expires_at",
        postgresql_where=text("state IN ('queued', 'retrying')"),
    ),
    Index("dispositions_failed", "account_id", "cause", "id", postgresql_where=text("state = 'failed'")),
    Index("dispositions_failed_by_agent", "account_id", "agent_id", "id", postgresql_where=text("state = 'failed'")),
    Index("dispositions_failed_by_did", "account_id", "did", "id", postgresql_where=text("state = 'failed'")),
    Index("dispositions_failed_by_code", "account_id", "disposition", "id", postgresql_where=text("state = 'failed'")),
    Index(
        "dispositions_failed_by_source",
        "account_id",
        "source",
        "id",
        postgresql_where=text("state = 'failed' AND source IS NOT NULL"),
    ),
    Index("dispositions_by_state", "account_id", "state", "id"),
    Index("dispositions_by_age", "created_at", postgresql_using="brin"),  # for pruning: they come in this order
    Index("dispositions_resent", "resent_from", postgresql_where=text("resent_from IS NOT NULL")),
    Index("dispositions_by_reference", "reference", "id", postgresql_where=text("reference IS NOT NULL")),
)

# What dispositions are looked up by and never changes: indexed here, it costs one entry for each disposition, and in
# its own row one for each change of its state. A trigger writes it. Each index has all that a row has, so that a walk
# along one sees whether the other conditions hold without going to the row.
lookups = Table(
    "lookups",
    metadata,
    Column("disposition_id", Uuid, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("did", Text, nullable=False),
    Column("disposition", Text, nullable=False),
    Column("source", Text),
    Index(
        "lookups_by_agent",
        "account_id",
        "agent_id",
        "disposition_id",
        postgresql_include=["did", "disposition", "source"],
    ),
    Index(
        "lookups_by_did",
        "account_id",
        "did",
        "disposition_id",
        postgresql_include=["agent_id", "disposition", "source"],
    ),
    Index(
        "lookups_by_code",
        "account_id",
        "disposition",
        "disposition_id",
        postgresql_include=["agent_id", "did", "source"],
    ),
    Index(
        "lookups_by_source",
        "account_id",
        "source",
        "disposition_id",
        postgresql_include=["agent_id", "did", "disposition"],
        postgresql_where=text("source IS NOT NULL"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("disposition_id", ForeignKey("dispositions.id", ondelete="CASCADE"), nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("worker", Text, nullable=False),
    Column("started_at", TIME, nullable=False),
    Column("finished_at", TIME),
    Column("outcome", Text),
    Column("certainty", Text),
    Column("http_status", SmallInteger),
    Column("reply_status", Text),
    Column("reply_details", Text),
    Column("latency_ms", Integer),
    Column("notes", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    UniqueConstraint("disposition_id", "number"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", TIME, nullable=False, server_default=func.clock_timestamp()),
    Column("actor", Text, nullable=False),  # "client:crm", "worker", "scheduler", "cli", ...
    Column("action", Text, nullable=False),
    Column("account_id", Integer),
    Column("disposition_id", Uuid),
    Column("subject", Text),  # where it is about something else: "account:acme", "key:crm"
    Column("from_state", Text),
    Column("to_state", Text),
    Column("reason", Text),
    Column("address", Text),  # from where a person did it
    Index("events_of_disposition", "disposition_id", postgresql_where=text("disposition_id IS NOT NULL")),
    # For the audit trail, without what happens to each disposition.
    Index("events_of_subject", "subject", "id", postgresql_where=text("subject IS NOT NULL")),
    Index(
        "events_by_action",
        "action",
        "id",
        postgresql_where=text("action NOT IN ('accepted', 'delivered', 'failed', 'superseded')"),
    ),
    Index(
        "events_by_person",
        "actor",
        "id",
        postgresql_where=text(
            "actor NOT LIKE 'client:%' AND actor NOT LIKE 'source:%' AND actor NOT LIKE 'worker:%' "
            "AND actor NOT LIKE 'scheduler%'"
        ),
    ),
    Index(
        "events_of_people",
        "id",
        postgresql_where=text(
            "actor NOT LIKE 'client:%' AND actor NOT LIKE 'source:%' AND actor NOT LIKE 'worker:%' "
            "AND actor NOT LIKE 'schedule%'"
        ),
    ),
    Index("events_by_time", "at", postgresql_using="brin"),  # they come in the order of time
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("client", Text, primary_key=True),
    Column("account_id", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("print", LargeBinary, nullable=False),
    Column("disposition_id", Uuid, nullable=False),
    created(),
    Index("idempotency_keys_by_age", "created_at"),
)

processes = Table(
    "processes",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),  # "worker" or "scheduler"
    Column("name", Text, nullable=False),  # host and pid
    Column("started_at", TIME, nullable=False, server_default=func.clock_timestamp()),
    Column("seen_at", TIME, nullable=False, server_default=func.clock_timestamp()),
    Column("consumed_at", TIME),  # when it last took a wake-up from the broker
    Column("rate", Double, nullable=False, server_default="0"),  # attempts that it brings to their end, a second
)
