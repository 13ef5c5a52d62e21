"""Users of the pages: their roles and their passwords' hashes. Names are in lower case."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.tables import users


@dataclass(frozen=True, slots=True)
class User:
    """A user as stored, without the password's hash."""

    id: int
    name: str
    role: str
    has_password: bool
    created_at: datetime
    disabled_at: datetime | None
    signed_in_at: datetime | None


SHOWN = (  # what makes a ``User``, in its order
    users.c.id,
    users.c.name,
    users.c.role,
    users.c.password_hash.is_not(None).label("has_password"),
    users.c.created_at,
    users.c.disabled_at,
    users.c.signed_in_at,
)


async def create(connection: AsyncConnection, *, name: str, role: str, password_hash: str | None) -> None:
    """Adds a user; a name that is taken raises ``IntegrityError``."""
    await connection.execute(insert(users).values(name=name, role=role, password_hash=password_hash))


async def read(connection: AsyncConnection, name: str) -> User | None:
    """One user by name, a disabled one too, or None."""
    row = (await connection.execute(select(*SHOWN).where(users.c.name == name))).one_or_none()
    return User(*row) if row else None


async def lock(connection: AsyncConnection, name: str) -> User | None:
    """One user by name, a disabled one too, whom nobody else changes or lets in until the transaction ends; or None."""
    row = (await connection.execute(select(*SHOWN).where(users.c.name == name).with_for_update())).one_or_none()
    return User(*row) if row else None


async def lock_all(connection: AsyncConnection, role: str) -> list[User]:
    """Those who may come in, with this role, locked in one order for everybody. Before a single user is locked."""
    here = select(*SHOWN).where(users.c.role == role, users.c.disabled_at.is_(None)).order_by(users.c.id)
    return [User(*row) for row in await connection.execute(here.with_for_update())]


async def read_all(connection: AsyncConnection) -> list[User]:
    """All users by name."""
    return [User(*row) for row in await connection.execute(select(*SHOWN).order_by(users.c.name))]


async def read_hash(connection: AsyncConnection, name: str) -> str | None:
    """The password's hash of a user who may sign in with it, or None."""
    query = select(users.c.password_hash).where(users.c.name == name, users.c.disabled_at.is_(None))
    return (await connection.scalars(query)).one_or_none()


async def set_role(connection: AsyncConnection, user_id: int, role: str) -> None:
    """Changes what the user may do, from the next request on."""
    await _change(connection, user_id, {"role": role})


async def set_hash(connection: AsyncConnection, user_id: int, password_hash: str) -> None:
    """Changes the password."""
    await _change(connection, user_id, {"password_hash": password_hash})


async def set_disabled(connection: AsyncConnection, user_id: int, *, disabled: bool) -> None:
    """Takes the user's access away, or gives it back."""
    await _change(connection, user_id, {"disabled_at": func.clock_timestamp() if disabled else None})


async def admit(connection: AsyncConnection, name: str) -> User | None:
    """Notes that the user signs in just now, unless they are disabled.

    The row is locked by it: what takes the user's sessions away comes wholly before the new one, or after it.
    """
    admitted = (
        update(users)
        .where(users.c.name == name, users.c.disabled_at.is_(None))
        .values(signed_in_at=func.clock_timestamp())
        .returning(*SHOWN)
    )
    row = (await connection.execute(admitted)).one_or_none()
    return User(*row) if row else None


async def _change(connection: AsyncConnection, user_id: int, values: dict[str, Any]) -> None:
    await connection.execute(update(users).where(users.c.id == user_id).values(**values))
