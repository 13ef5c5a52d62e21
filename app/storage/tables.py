"""The tables. The migrations make them; ``alembic check`` in the tests proves that both say the same."""

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
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

TIME = DateTime(timezone=True)


def _created() -> Column[object]:
    return Column("created_at", TIME, nullable=False, server_default=func.clock_timestamp())


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
    _created(),
    Column("updated_at", TIME, nullable=False, server_default=func.clock_timestamp()),
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
    _created(),
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
    Index("events_by_time", "at", postgresql_using="brin"),  # they come in the order of time
)

# A client has one current key, and after a rotation its older ones for a while: rows of the same name.
keys = Table(
    "keys",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("accounts", ARRAY(Text), nullable=False, server_default=text("'{}'")),  # empty: all
    _created(),
    Column("expires_at", TIME),
    Column("replaced_at", TIME),  # by a newer one of this client
    Column("revoked_at", TIME),
    Column("last_used_at", TIME),
    Index("keys_current", "name", unique=True, postgresql_where=text("replaced_at IS NULL")),
)

users = Table(
    "users",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text),  # argon2id. None: signs in by a link or through a proxy only
    _created(),
    Column("disabled_at", TIME),
    Column("signed_in_at", TIME),
    CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="users_role"),
)

# Who is signed in on the pages. The browser holds the token, we its digest: a session ends when its row goes.
sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("address", Text, nullable=False),
    _created(),
    Column("expires_at", TIME, nullable=False),
    Index("sessions_of_user", "user_id"),
)

# Signs one user in, once: its row goes when it is used.
sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    _created(),
    Column("expires_at", TIME, nullable=False),
    Index("sign_in_links_of_user", "user_id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("client", Text, primary_key=True),
    Column("account_id", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("print", LargeBinary, nullable=False),
    Column("disposition_id", Uuid, nullable=False),
    _created(),
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

# What is done to all dispositions that a filter takes (app/domain/replays.py). Whoever works at one holds its row.
replays = Table(
    "replays",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("action", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text),
    Column("accounts", ARRAY(Text), nullable=False),  # those of the bound key that asked for it; empty: all
    Column("filter", JSONB, nullable=False),
    Column("map", JSONB, nullable=False),
    Column("rate_per_second", Double, nullable=False),
    Column("max_items", Integer, nullable=False),
    Column("extend_max_age", Boolean, nullable=False),
    Column("stop_share", Double, nullable=False),
    Column("stop_after", Integer, nullable=False),
    Column("left_out", JSONB, nullable=False),  # how many of those that matched are no items, by why
    Column("account_ids", ARRAY(Integer), nullable=False),  # of its items
    # How many items stand where; each step that moves some moves these.
    Column("total", Integer, nullable=False),
    Column("waiting", Integer, nullable=False),
    Column("skipped", Integer, nullable=False, server_default="0"),
    Column("sent", Integer, nullable=False, server_default="0"),
    Column("delivered", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("superseded", Integer, nullable=False, server_default="0"),
    Column("cancelled", Integer, nullable=False, server_default="0"),
    Column("next_at", TIME, nullable=False, server_default=func.clock_timestamp()),  # of its next chunk
    Column("look_at", TIME, nullable=False, server_default=func.clock_timestamp()),  # what has become of what it sent
    _created(),
    Column("started_at", TIME),
    Column("ended_at", TIME),
    Column("settled_at", TIME),
    Column("idempotency_key", Text),
    Column("print", LargeBinary),
    Column("schedule_id", Uuid),
    Index("replays_open", "next_at", postgresql_where=text("settled_at IS NULL")),
    Index("replays_of_schedule", "schedule_id", postgresql_where=text("schedule_id IS NOT NULL")),
    Index(
        "replays_keys", "actor", "idempotency_key", unique=True, postgresql_where=text("idempotency_key IS NOT NULL")
    ),
)

replay_items = Table(
    "replay_items",
    metadata,
    Column("replay_id", ForeignKey("replays.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("disposition_id", Uuid, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("result", Text, nullable=False, server_default="waiting"),
    Column("why", Text),
    Column("sent_id", Uuid),  # the disposition that was sent: itself, or the corrected one
    Column("at", TIME),  # when it came to this result
    Index("replay_items_waiting", "replay_id", "account_id", "position", postgresql_where=text("result = 'waiting'")),
    Index("replay_items_sent", "replay_id", "position", postgresql_where=text("result = 'sent'")),
)

# A replay that recurs (app/domain/schedules.py). Who acts on one holds its row.
schedules = Table(
    "schedules",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("cron", Text),  # or
    Column("every_seconds", Integer),
    Column("time_zone", Text, nullable=False),
    Column("replay", JSONB, nullable=False),  # as it was asked for: its times are relative to each run
    Column("accounts", ARRAY(Text), nullable=False),  # those of the bound key that made it; empty: all
    Column("overlap", Text, nullable=False),
    Column("catch_up_seconds", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    Column("next_at", TIME),
    Column("paused_at", TIME),
    _created(),
    Column("updated_at", TIME, nullable=False, server_default=func.clock_timestamp()),
)

schedule_runs = Table(
    "schedule_runs",
    metadata,
    Column("schedule_id", ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True),
    Column("due_at", TIME, primary_key=True),
    Column("kind", Text, primary_key=True),  # "due", "now" or "backfill"
    Column("state", Text, nullable=False),
    Column("n", Integer, nullable=False, server_default="1"),  # so many missed ones in a row are one line
    Column("note", Text),
    Column("replay_id", Uuid),
    Column("at", TIME, nullable=False, server_default=func.clock_timestamp()),
    Index("schedule_runs_queued", "schedule_id", postgresql_where=text("state = 'queued'")),
)
