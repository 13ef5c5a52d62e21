"""Users of the pages, their sessions, and links that sign them in.

Revision: 0002, after 0001.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
CREATE TABLE users (
    id INTEGER GENERATED ALWAYS AS IDENTITY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    password_hash TEXT,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    disabled_at timestamptz,
    signed_in_at timestamptz,
    PRIMARY KEY (id),
    UNIQUE (name),
    CONSTRAINT users_role CHECK (role IN ('viewer', 'operator', 'admin'))
);

CREATE TABLE sessions (
    digest BYTEA NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (digest)
);
CREATE INDEX sessions_of_user ON sessions (user_id);

CREATE TABLE sign_in_links (
    digest BYTEA NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (digest)
);
CREATE INDEX sign_in_links_of_user ON sign_in_links (user_id);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE sign_in_links, sessions, users")
