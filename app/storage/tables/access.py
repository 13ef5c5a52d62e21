"""Who may come in: programs by their keys, people by their sessions."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)

from app.storage.tables.metadata import TIME, created, metadata

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
    created(),
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
    created(),
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
    created(),
    Column("expires_at", TIME, nullable=False),
    Index("sessions_of_user", "user_id"),
)

# Signs one user in, once: its row goes when it is used.
sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    created(),
    Column("expires_at", TIME, nullable=False),
    Index("sign_in_links_of_user", "user_id"),
)
