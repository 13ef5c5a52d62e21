"""Sessions: a user signs in, is known by a token for a while, signs out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.errors import Fault, InvalidInput, NotAuthenticated, RateLimited, StateConflict
from app.secrets import Secret, digest, form_token, hash_password, is_outdated, new_token, password_fits
from app.services.keys import Caller
from app.services.throttle import Throttle
from app.services.users import actor_of, caller_of, folded, password_faults
from app.storage import events, sessions, users
from app.storage.users import User

log = structlog.get_logger(__name__)

# Wrong passwords before there is a wait: for one user from one address; and, against many who guess together, for one
# user from anywhere, and from one address for anybody. A whole floor behind one proxy mistypes less than that.
_WINDOW_SECONDS = 15 * 60.0
_MOST_OF_PAIR = 5
_MOST_OF_EITHER = 50

_HASHED_AT_ONCE = 2  # each takes 64 MiB for 50 ms


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user in a session. ``form_token`` is what the forms of the session's pages carry."""

    user: User
    form_token: str

    @property
    def caller(self) -> Caller:
        """The user as one who asks the services."""
        return caller_of(self.user)


class Sessions:
    """Lets users in and knows them again. ``clock`` gives seconds, as ``time.monotonic`` does."""

    def __init__(
        self, engine: AsyncEngine, *, lifetime: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self.lifetime = lifetime
        self._pairs = Throttle(_MOST_OF_PAIR, _WINDOW_SECONDS, clock)
        self._singles = Throttle(_MOST_OF_EITHER, _WINDOW_SECONDS, clock)
        self._hashing = asyncio.Semaphore(_HASHED_AT_ONCE)
        self._nobodys: str | None = None  # the hash that an unknown user's password is compared with

    async def sign_in(self, name: str, password: Secret, *, address: str) -> str:
        """The token of a new session. Raises ``NotAuthenticated``, and ``RateLimited`` after too many wrong ones.

        An unknown user's password is hashed, too: neither the answer nor its time tells which of the two was wrong.
        """
        name = folded(name)
        self._take_try(name, address)
        async with self._engine.connect() as connection:
            stored = await users.read_hash(connection, name)
        if not await self._fits(stored, password):
            log.warning("wrong password", address=address)
            raise NotAuthenticated("Name and password do not match. Check both; capitals matter in the password.")
        self._forgive(name, address)
        renewed = await self._hash(password) if is_outdated(stored or "") else None
        async with self._engine.begin() as connection:
            user = await users.admit(connection, name)
            if user is None or await users.read_hash(connection, name) != stored:  # since a moment ago
                raise NotAuthenticated("The password was changed, or the access taken away, just now. Sign in again.")
            if renewed is not None:
                await users.set_hash(connection, user.id, renewed)
            return await self._start(connection, user, address, "by password")

    async def sign_in_by_link(self, link: str, *, address: str) -> str:
        """The token of a new session; the link is used up by it. Raises ``NotAuthenticated``."""
        async with self._engine.begin() as connection:
            user = await sessions.find_link(connection, digest(link))
            # First the user, then what is the user's, as whoever takes it away.
            user = user and await users.admit(connection, user.name)
            if user is None or not await sessions.use_link(connection, digest(link)):
                raise NotAuthenticated(
                    "This sign-in link was used already, or is too old. `wrapup users link NAME` makes a new one."
                )
            return await self._start(connection, user, address, "by link")

    async def sign_in_by_proxy(self, name: str, *, address: str) -> str:
        """The token of a new session for whom a trusted proxy has signed in. Raises ``NotAuthenticated`` for one who is
        no user here: who may come in, and as what, is said here and not there."""
        async with self._engine.begin() as connection:
            user = await users.admit(connection, folded(name))
            if user is None:
                raise NotAuthenticated(
                    "You are signed in with your company, and have no access to Wrapup. Ask an admin of Wrapup for it."
                )
            return await self._start(connection, user, address, "by proxy")

    async def find(self, token: str) -> SignedIn | None:
        """Whose session this is, None if it has ended. Asks the database each time: what is revoked ends at once."""
        async with self._engine.connect() as connection:
            user = await sessions.find(connection, digest(token))
        return None if user is None else SignedIn(user, form_token(token))

    async def sign_out(self, token: str) -> None:
        """Ends the session, here and not only in the browser."""
        async with self._engine.begin() as connection:
            user = await sessions.find(connection, digest(token))
            await sessions.end(connection, digest(token))
            if user is not None:
                await _tell(connection, user, "signed out")

    async def change_password(self, user: User, old: Secret, new: Secret, *, address: str) -> str:
        """Changes one's own password and ends all sessions; gives the token of a new one.

        ``old`` is not looked at where there was none. Raises ``InvalidInput``, ``RateLimited`` and ``StateConflict``.
        """
        self._take_try(user.name, address)
        async with self._engine.connect() as connection:
            stored = await users.read_hash(connection, user.name)
        if stored is not None and not await self._fits(stored, old):
            raise InvalidInput([Fault("old_password", "The old password is not right.")])
        self._forgive(user.name, address)
        if faults := password_faults(user.name, new):
            raise InvalidInput(faults)
        hashed = await self._hash(new)
        async with self._engine.begin() as connection:
            admitted = await users.admit(connection, user.name)
            if admitted is None or await users.read_hash(connection, user.name) != stored:
                raise StateConflict("The password was changed, or the access taken away, just now by somebody else.")
            await users.set_hash(connection, user.id, hashed)
            await sessions.end_all(connection, user.id)
            await _tell(connection, user, "user password changed")
            return await self._start(connection, user, address, "with a new password")

    async def _start(self, connection: AsyncConnection, user: User, address: str, how: str) -> str:
        token = new_token()
        await sessions.forget_expired(connection)
        await sessions.start(connection, user.id, digest=digest(token), address=address, lifetime=self.lifetime)
        await _tell(connection, user, "signed in", how)
        return token

    async def _fits(self, stored: str | None, password: Secret) -> bool:
        if self._nobodys is None:
            self._nobodys = await self._hash(Secret(new_token()))
        async with self._hashing:
            return await asyncio.to_thread(password_fits, stored or self._nobodys, password)

    async def _hash(self, password: Secret) -> str:
        async with self._hashing:
            return await asyncio.to_thread(hash_password, password)

    def _take_try(self, name: str, address: str) -> None:
        """Counts a try as wrong until it is known to be right: else many at once would all be let through."""
        pair, singles = (name, address), (("user", name), ("address", address))
        if wait := max(self._pairs.wait(pair), *map(self._singles.wait, singles)):
            minutes = -(-wait // 60)
            raise RateLimited(f"Too many wrong passwords. Try again in {minutes} min.", retry_after=wait)
        self._pairs.count(pair)
        for single in singles:
            self._singles.count(single)

    def _forgive(self, name: str, address: str) -> None:
        self._pairs.forget((name, address))
        for single in (("user", name), ("address", address)):
            self._singles.take_back(single)


async def _tell(connection: AsyncConnection, user: User, action: str, reason: str | None = None) -> None:
    await events.tell(connection, actor=actor_of(user.name), action=action, subject=f"user:{user.name}", reason=reason)
