"""Clients' API keys: digests, scopes, bindings.

A client is its name. It has one *current* key; a rotation puts a new one in its place, and the older one goes on for
a grace as a row of the same name (``replaced_at``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.tables import keys


@dataclass(frozen=True, slots=True)
class Key:
    """A client's key as it is stored: never the key itself. No ``accounts``: not bound, all are its own."""

    name: str
    prefix: str
    scopes: Sequence[str]
    accounts: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    replaced_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


_SHOWN = (
    keys.c.name,
    keys.c.prefix,
    keys.c.scopes,
    keys.c.accounts,
    keys.c.created_at,
    keys.c.expires_at,
    keys.c.replaced_at,
    keys.c.revoked_at,
    keys.c.last_used_at,
)


async def create(
    connection: AsyncConnection,
    *,
    name: str,
    prefix: str,
    digest: bytes,
    scopes: Sequence[str],
    accounts: Sequence[str],
    expires_at: datetime | None,
) -> None:
    """Adds a key; a name that has a current one raises ``IntegrityError``."""
    await connection.execute(
        insert(keys).values(
            name=name,
            prefix=prefix,
            digest=digest,
            scopes=list(scopes),
            accounts=list(accounts),
            expires_at=expires_at,
        )
    )


async def find(connection: AsyncConnection, digest: bytes) -> Key | None:
    """The key with this digest if it is neither revoked nor expired."""
    live = keys.c.revoked_at.is_(None) & (keys.c.expires_at.is_(None) | (keys.c.expires_at > func.clock_timestamp()))
    row = (await connection.execute(select(*_SHOWN).where(keys.c.digest == digest, live))).one_or_none()
    return Key(*row) if row else None


async def read(connection: AsyncConnection, name: str) -> Key | None:
    """The client's current key, a revoked or expired one too."""
    query = select(*_SHOWN).where(keys.c.name == name, keys.c.replaced_at.is_(None))
    row = (await connection.execute(query)).one_or_none()
    return Key(*row) if row else None


async def read_all(connection: AsyncConnection) -> list[Key]:
    """All keys by name, each client's newest first; the revoked and the replaced ones too."""
    return [Key(*row) for row in await connection.execute(select(*_SHOWN).order_by(keys.c.name, keys.c.id.desc()))]


async def lock(connection: AsyncConnection, name: str) -> list[Key]:
    """The client's keys that are not revoked, oldest first, locked in this order by everybody who changes several.

    Who had to wait for a rotation sees its outcome: the current one that it waited for is replaced.
    """
    query = select(*_SHOWN).where(keys.c.name == name, keys.c.revoked_at.is_(None)).order_by(keys.c.id)
    return [Key(*row) for row in await connection.execute(query.with_for_update())]


async def replace(connection: AsyncConnection, name: str, grace: timedelta) -> None:
    """Makes room for the client's new key. All that it has work for the grace yet, or until they expire.

    The caller has locked them.
    """
    await connection.execute(
        update(keys)
        .where(keys.c.name == name, keys.c.revoked_at.is_(None))
        .values(
            replaced_at=func.coalesce(keys.c.replaced_at, func.clock_timestamp()),
            expires_at=func.least(keys.c.expires_at, func.clock_timestamp() + grace),
        )
    )


async def revoke(connection: AsyncConnection, name: str) -> None:
    """Revokes the client's keys, the replaced ones too. The caller has locked them."""
    await connection.execute(
        update(keys).where(keys.c.name == name, keys.c.revoked_at.is_(None)).values(revoked_at=func.clock_timestamp())
    )


async def note_use(connection: AsyncConnection, digest: bytes) -> None:
    """Remembers that the key was used just now."""
    await connection.execute(update(keys).where(keys.c.digest == digest).values(last_used_at=func.clock_timestamp()))
