"""Clients' API keys: digests, scopes, bindings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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
    revoked_at: datetime | None
    last_used_at: datetime | None


_SHOWN = (
    keys.c.name,
    keys.c.prefix,
    keys.c.scopes,
    keys.c.accounts,
    keys.c.created_at,
    keys.c.expires_at,
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
    """Adds a key; a name that is taken raises ``IntegrityError``."""
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


async def read_all(connection: AsyncConnection) -> list[Key]:
    """All keys by name, the revoked ones too."""
    return [Key(*row) for row in await connection.execute(select(*_SHOWN).order_by(keys.c.name))]


async def revoke(connection: AsyncConnection, name: str) -> bool:
    """Revokes a key; False if there is none of that name that still works."""
    revoked = await connection.scalars(
        update(keys)
        .where(keys.c.name == name, keys.c.revoked_at.is_(None))
        .values(revoked_at=func.clock_timestamp())
        .returning(keys.c.id)
    )
    return revoked.one_or_none() is not None


async def note_use(connection: AsyncConnection, digest: bytes) -> None:
    """Remembers that the key was used just now."""
    await connection.execute(update(keys).where(keys.c.digest == digest).values(last_used_at=func.clock_timestamp()))
