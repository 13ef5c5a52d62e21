"""Sessions of the pages, and links that sign a user in once. Of both there is only the digest here."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.tables import sessions, sign_in_links, users
from app.storage.users import SHOWN, User


async def start(connection: AsyncConnection, user_id: int, *, digest: bytes, address: str, lifetime: timedelta) -> None:
    """Adds a session."""
    ends = func.clock_timestamp() + lifetime
    await connection.execute(insert(sessions).values(digest=digest, user_id=user_id, address=address, expires_at=ends))


async def find(connection: AsyncConnection, digest: bytes) -> User | None:
    """Whose session it is, if it goes on and its user may still come in."""
    query = (
        select(*SHOWN)
        .join_from(sessions, users)
        .where(
            sessions.c.digest == digest,
            sessions.c.expires_at > func.clock_timestamp(),
            users.c.disabled_at.is_(None),
        )
    )
    row = (await connection.execute(query)).one_or_none()
    return User(*row) if row else None


async def end(connection: AsyncConnection, digest: bytes) -> None:
    """Ends one session."""
    await connection.execute(delete(sessions).where(sessions.c.digest == digest))


async def end_all(connection: AsyncConnection, user_id: int) -> None:
    """Ends all sessions of a user, and the links that would begin new ones."""
    await connection.execute(delete(sessions).where(sessions.c.user_id == user_id))
    await connection.execute(delete(sign_in_links).where(sign_in_links.c.user_id == user_id))


async def forget_expired(connection: AsyncConnection) -> None:
    """Deletes what is over by itself, and waits for nobody who does the same."""
    for table in (sessions, sign_in_links):
        over = select(table.c.digest).where(table.c.expires_at <= func.clock_timestamp())
        await connection.execute(delete(table).where(table.c.digest.in_(over.with_for_update(skip_locked=True))))


async def add_link(connection: AsyncConnection, user_id: int, *, digest: bytes, lifetime: timedelta) -> None:
    """Adds a sign-in link."""
    ends = func.clock_timestamp() + lifetime
    await connection.execute(insert(sign_in_links).values(digest=digest, user_id=user_id, expires_at=ends))


async def find_link(connection: AsyncConnection, digest: bytes) -> User | None:
    """Whom a link that works signs in."""
    query = (
        select(*SHOWN)
        .join_from(sign_in_links, users)
        .where(sign_in_links.c.digest == digest, sign_in_links.c.expires_at > func.clock_timestamp())
    )
    row = (await connection.execute(query)).one_or_none()
    return User(*row) if row else None


async def use_link(connection: AsyncConnection, digest: bytes) -> bool:
    """Takes a link away; of two who use it at once, one does. False if it is gone. The caller has admitted the user."""
    used = delete(sign_in_links).where(sign_in_links.c.digest == digest).returning(sign_in_links.c.digest)
    return (await connection.scalars(used)).one_or_none() is not None
