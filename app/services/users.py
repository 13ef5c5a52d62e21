"""Users: the people who work with the pages, and what each may do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.errors import Fault, InvalidInput, NotFound, StateConflict
from app.domain.refusals import quoted
from app.secrets import Secret, digest, hash_password, new_token
from app.services.keys import NAME_PATTERN, OPERATOR, Caller, Scope
from app.storage import events, sessions
from app.storage import users as user_rows
from app.storage.users import User


class Role(StrEnum):
    """What a user may do: look, work on dispositions and accounts, or manage everything."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


# Unlike those of a key, each role includes the one before it.
SCOPES: Mapping[str, frozenset[str]] = {
    Role.VIEWER: frozenset({Scope.READ}),
    Role.OPERATOR: frozenset({Scope.READ, Scope.OPERATE}),
    Role.ADMIN: frozenset({Scope.READ, Scope.OPERATE, Scope.ADMIN}),
}

PASSWORD_LEAST, PASSWORD_MOST = 12, 200
"""Characters of a password."""

LINK_LIFETIME = timedelta(hours=1)
"""How long a sign-in link works if it is not used."""

LONGEST_LINK = timedelta(days=7)


def link_path(token: str) -> str:
    """The address of a sign-in link, below that of Wrapup."""
    return f"/sign-in/link?token={token}"


def actor_of(name: str) -> str:
    """A user's name in the audit trail."""
    return f"user:{name}"


def caller_of(user: User) -> Caller:
    """A user as one who asks the services."""
    return Caller(actor_of(user.name), SCOPES[user.role])


def folded(name: str) -> str:
    """A name as it is kept: whoever signs in may type it in capitals, and with spaces around it."""
    return name.strip().lower()


class Users:
    """Makes users and changes what they may do. Whoever loses something loses all sessions with it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create(
        self, name: str, role: str, *, password: Secret | None = None, actor: str = OPERATOR.actor
    ) -> User:
        """Makes a user; without a password a sign-in link or a proxy lets them in. Raises ``InvalidInput`` with every
        fault."""
        name = folded(name)
        faults = _role_faults(role)
        if not re.fullmatch(NAME_PATTERN, name):
            faults.append(
                Fault("name", "name must have 1 to 100 letters, digits and .-_@, the first a letter or a digit.")
            )
        if password is not None:
            faults += password_faults(name, password)
        if faults:
            raise InvalidInput(faults)
        hashed = None if password is None else await asyncio.to_thread(hash_password, password)
        async with self._engine.begin() as connection:
            try:
                await user_rows.create(connection, name=name, role=role, password_hash=hashed)
            except IntegrityError:
                fault = f"There is a user {quoted(name)} already: choose another name."
                raise InvalidInput([Fault("name", fault)]) from None
            await _tell(connection, actor, "user created", name, role)
            return await self._read(connection, name)

    async def set_role(self, name: str, role: str, *, actor: str = OPERATOR.actor) -> User:
        """Changes what a user may do, at once. Raises ``InvalidInput``, ``NotFound``, and ``StateConflict`` for one's
        own role, or the last admin's: that would lock everybody out."""
        if faults := _role_faults(role):
            raise InvalidInput(faults)
        async with self._engine.begin() as connection:
            admins = await user_rows.lock_all(connection, Role.ADMIN)
            user = await self._lock(connection, name)
            if user.role != role:
                _leaves_an_admin(user, admins, actor, "role is changed")
                await user_rows.set_role(connection, user.id, role)
                await _tell(connection, actor, "user role changed", user.name, f"from {user.role} to {role}")
            return await self._read(connection, name)

    async def set_password(self, name: str, password: Secret, *, actor: str = OPERATOR.actor) -> User:
        """Gives a user a password and ends all of their sessions. Raises ``InvalidInput`` and ``NotFound``."""
        if faults := password_faults(folded(name), password):
            raise InvalidInput(faults)
        hashed = await asyncio.to_thread(hash_password, password)
        async with self._engine.begin() as connection:
            user = await self._lock(connection, name)
            await user_rows.set_hash(connection, user.id, hashed)
            await sessions.end_all(connection, user.id)
            await _tell(connection, actor, "user password changed", user.name)
            return await self._read(connection, name)

    async def disable(self, name: str, *, actor: str = OPERATOR.actor, reason: str | None = None) -> User:
        """Takes a user's access away and ends all of their sessions. Disabling twice changes nothing.

        Raises ``NotFound``, and ``StateConflict`` for oneself, and for the last admin.
        """
        async with self._engine.begin() as connection:
            admins = await user_rows.lock_all(connection, Role.ADMIN)
            user = await self._lock(connection, name)
            if user.disabled_at is None:
                _leaves_an_admin(user, admins, actor, "access is taken away")
                await user_rows.set_disabled(connection, user.id, disabled=True)
                await sessions.end_all(connection, user.id)
                await _tell(connection, actor, "user disabled", user.name, reason)
            return await self._read(connection, name)

    async def enable(self, name: str, *, actor: str = OPERATOR.actor, reason: str | None = None) -> User:
        """Gives a disabled user the access back; raises ``NotFound``."""
        async with self._engine.begin() as connection:
            user = await self._lock(connection, name)
            if user.disabled_at is not None:
                await user_rows.set_disabled(connection, user.id, disabled=False)
                await _tell(connection, actor, "user enabled", user.name, reason)
            return await self._read(connection, name)

    async def link(self, name: str, *, lifetime: timedelta = LINK_LIFETIME, actor: str = OPERATOR.actor) -> str:
        """A token that signs the user in, once, within ``lifetime``: it is shown here and never again.

        Raises ``NotFound``, ``InvalidInput``, and ``StateConflict`` for a disabled user.
        """
        if not timedelta(0) < lifetime <= LONGEST_LINK:
            raise InvalidInput([Fault("lifetime", f"A link works for {LONGEST_LINK.days} days at most.")])
        token = new_token()
        async with self._engine.begin() as connection:
            user = await self._lock(connection, name)
            if user.disabled_at is not None:
                raise StateConflict(f"The user {quoted(user.name)} is disabled. Enable them first.")
            await sessions.forget_expired(connection)
            await sessions.add_link(connection, user.id, digest=digest(token), lifetime=lifetime)
            await _tell(connection, actor, "sign-in link made", user.name)
        return token

    async def get(self, name: str) -> User:
        """One user; raises ``NotFound``."""
        async with self._engine.connect() as connection:
            return await self._read(connection, name)

    async def all(self) -> list[User]:
        """All users by name, the disabled ones too."""
        async with self._engine.connect() as connection:
            return await user_rows.read_all(connection)

    async def _lock(self, connection: AsyncConnection, name: str) -> User:
        """The user, as they are once nobody else changes them; raises ``NotFound``."""
        user = await user_rows.lock(connection, folded(name))
        if user is None:
            raise no_user(name)
        return user

    async def _read(self, connection: AsyncConnection, name: str) -> User:
        user = await user_rows.read(connection, folded(name))
        if user is None:
            raise no_user(name)
        return user


def no_user(name: str) -> NotFound:
    """The error for a user who is not there."""
    return NotFound(f"There is no user {quoted(name)}. `wrapup users list` shows those there are.")


def password_faults(name: str, password: Secret) -> list[Fault]:
    """What is wrong with a password for this user. Long is what makes one strong; nothing else is asked of it."""
    text = password.reveal()
    if not PASSWORD_LEAST <= len(text) <= PASSWORD_MOST:
        return [
            Fault(
                "password",
                f"password has {len(text)} characters; it must have {PASSWORD_LEAST} to {PASSWORD_MOST}. "
                "Several words in a row are easy to remember.",
            )
        ]
    if text.lower().strip() == name:
        return [Fault("password", "password must not be the user's name.")]
    return []


def _role_faults(role: str) -> list[Fault]:
    if role in set(Role):
        return []
    return [Fault("role", f"role is {quoted(role)}; there are: {', '.join(Role)}.")]


def _leaves_an_admin(user: User, admins: Sequence[User], actor: str, what: str) -> None:
    """Raises ``StateConflict`` for oneself, and for the only one of ``admins``: who acts is none of them any more."""
    if actor == actor_of(user.name):
        raise StateConflict(f"Nobody's own {what}: it could lock everybody out. Ask another admin.")
    if actor.startswith(actor_of("")) and [admin.id for admin in admins] == [user.id]:
        raise StateConflict(f"{user.name} is the last admin: your own access was changed a moment ago.")


async def _tell(connection: AsyncConnection, actor: str, action: str, name: str, reason: str | None = None) -> None:
    await events.tell(connection, actor=actor, action=action, subject=f"user:{name}", reason=reason)
