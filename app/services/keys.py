"""Keys: who a caller is, and what it may do."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.errors import Fault, InvalidInput, NotAllowed, NotAuthenticated, NotFound, StateConflict
from app.domain.refusals import quoted
from app.secrets import digest, new_client_key
from app.storage import accounts as account_rows
from app.storage import events
from app.storage import keys as key_rows
from app.storage.keys import Key


class Scope(StrEnum):
    """What a key may do. Each is its own; ``admin`` includes no other."""

    SUBMIT = "submit"
    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``actor`` is its name in the audit trail; no ``accounts`` means that all are its own."""

    actor: str
    scopes: frozenset[str]
    accounts: frozenset[str] = frozenset()

    def require(self, scope: Scope) -> None:
        """Raises ``NotAllowed`` without the scope."""
        if scope not in self.scopes:
            have = ", ".join(sorted(self.scopes)) or "none"
            raise NotAllowed(f"This needs a key with the scope {scope.value}; the one that was sent has {have}.")

    def owns(self, account: str) -> bool:
        """True if the account is the caller's to see and use."""
        return not self.accounts or account in self.accounts

    def covers(self, accounts: Collection[str]) -> bool:
        """True if what is bound to these accounts (none: to no account) is the caller's: it opens nothing beyond."""
        return not self.accounts or (bool(accounts) and self.accounts.issuperset(accounts))

    @property
    def bound_account(self) -> str | None:
        """The account that is meant when none is named: that of a key that is bound to exactly one."""
        return next(iter(self.accounts)) if len(self.accounts) == 1 else None


# The command line beside the database: whoever can read the data dir may do everything.
OPERATOR = Caller("cli", frozenset(Scope))

GRACE = timedelta(hours=24)
"""How long a key works yet after it was replaced, unless it is said otherwise."""

LONGEST_GRACE = timedelta(days=30)

NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9._@-]{0,99}"
"""A client's name: it stands in addresses and in the audit trail."""

_REMEMBERED_SECONDS = 2.0  # so long a revoked key may go on
_REMEMBERED_MOST = 10_000
_USE_NOTED_SECONDS = 60.0


class Keys:
    """Makes keys, replaces and revokes them, and knows a caller by one."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._remembered: dict[bytes, tuple[float, Caller]] = {}
        self._asked: dict[bytes, asyncio.Task[Caller]] = {}
        self._use_noted: dict[bytes, float] = {}

    async def authenticate(self, key: str) -> Caller:
        """The caller whose key this is; raises ``NotAuthenticated``.

        Requests that come while the database is being asked wait for the one answer: else each time that a busy
        client is forgotten, all of its requests would ask at once.
        """
        fingerprint = digest(key)
        remembered = self._remembered.get(fingerprint)
        if remembered and remembered[0] > time.monotonic():
            return remembered[1]
        asked = self._asked.get(fingerprint)
        if asked is None:
            asked = self._asked[fingerprint] = asyncio.create_task(self._ask(fingerprint))
            asked.add_done_callback(lambda task: self._answered(fingerprint, task))
        return await asyncio.shield(asked)  # who goes away takes the answer from nobody

    async def _ask(self, fingerprint: bytes) -> Caller:
        now = time.monotonic()
        async with self._engine.begin() as connection:
            row = await key_rows.find(connection, fingerprint)
            if row is None:
                self._remembered.pop(fingerprint, None)
                raise NotAuthenticated("The API key is not known, or it was revoked or has expired.")
            if self._use_noted.get(fingerprint, 0.0) < now:
                await key_rows.note_use(connection, fingerprint)
                self._use_noted[fingerprint] = now + _USE_NOTED_SECONDS
        caller = Caller(f"client:{row.name}", frozenset(row.scopes), frozenset(row.accounts))
        if len(self._remembered) >= _REMEMBERED_MOST:
            self._remembered.clear()
        self._remembered[fingerprint] = now + _REMEMBERED_SECONDS, caller
        return caller

    def _answered(self, fingerprint: bytes, task: asyncio.Task[Caller]) -> None:
        del self._asked[fingerprint]
        if not task.cancelled():
            task.exception()  # noted as seen, also if everybody who waited has gone

    async def create(
        self,
        name: str,
        scopes: Sequence[str],
        accounts: Sequence[str] = (),
        *,
        expires_at: datetime | None = None,
        actor: str = OPERATOR.actor,
    ) -> str:
        """Makes a client's first key and gives it: the only time that it is seen.

        Raises ``InvalidInput`` with every fault.
        """
        faults = [
            Fault("scopes", f"{quoted(scope)} is no scope; there are: {', '.join(Scope)}.")
            for scope in scopes
            if scope not in set(Scope)
        ]
        if not scopes:
            faults.append(Fault("scopes", f"A scope is missing: give at least one of {', '.join(Scope)}."))
        if not re.fullmatch(NAME_PATTERN, name):
            faults.append(
                Fault("name", "name must have 1 to 100 letters, digits and .-_@, the first a letter or a digit.")
            )
        if expires_at is not None and expires_at <= datetime.now(UTC):
            faults.append(_passed(expires_at))
        async with self._engine.begin() as connection:
            known = {account.customer for account in await account_rows.read_all(connection)}
            faults += [
                Fault(
                    "accounts", f"There is no account {quoted(account)}; `wrapup accounts list` shows those there are."
                )
                for account in accounts
                if account not in known
            ]
            if faults:
                raise InvalidInput(faults)
            try:
                key = await _add(connection, name, sorted(set(scopes)), sorted(set(accounts)), expires_at)
            except IntegrityError:
                fault = f"There is a key {name!r} already: choose another name, or rotate that one."
                raise InvalidInput([Fault("name", fault)]) from None
            await events.tell(connection, actor=actor, action="key created", subject=f"key:{name}")
        return key

    async def rotate(
        self,
        name: str,
        *,
        grace: timedelta = GRACE,
        expires_at: datetime | None = None,
        actor: str = OPERATOR.actor,
        reason: str | None = None,
    ) -> str:
        """Makes a client's new key, with the scopes and accounts of its current one, and gives it: the only time that
        it is seen. The client's older keys all work for ``grace`` yet.

        Without ``expires_at`` the new key gets as long a life as the current one was given. Raises ``NotFound``,
        ``InvalidInput``, and ``StateConflict`` if somebody else rotates it at the same moment.
        """
        faults = []
        if not timedelta(0) <= grace <= LONGEST_GRACE:
            faults.append(Fault("grace_seconds", f"The grace must be 0 seconds to {LONGEST_GRACE.days} days."))
        now = datetime.now(UTC)
        if expires_at is not None and expires_at <= now:
            faults.append(_passed(expires_at))
        if faults:
            raise InvalidInput(faults)
        async with self._engine.begin() as connection:
            held = await key_rows.lock(connection, name)
            if not held:
                raise no_key(name)
            current = next((key for key in held if key.replaced_at is None), None)
            if current is None:
                raise StateConflict(f"The key {name!r} was rotated a moment ago by somebody else.")
            if expires_at is None and current.expires_at is not None:
                expires_at = now + (current.expires_at - current.created_at)
            await key_rows.replace(connection, name, grace)
            key = await _add(connection, name, current.scopes, current.accounts, expires_at)
            await events.tell(connection, actor=actor, action="key rotated", subject=f"key:{name}", reason=reason)
        self._remembered.clear()
        return key

    async def revoke(self, name: str, *, actor: str = OPERATOR.actor, reason: str | None = None) -> None:
        """Makes a client's keys useless, within seconds everywhere; raises ``NotFound``."""
        async with self._engine.begin() as connection:
            if not await key_rows.lock(connection, name):
                raise no_key(name)
            await key_rows.revoke(connection, name)
            await events.tell(connection, actor=actor, action="key revoked", subject=f"key:{name}", reason=reason)
        self._remembered.clear()

    async def get(self, name: str) -> Key:
        """A client's current key, without the key itself; raises ``NotFound``."""
        async with self._engine.connect() as connection:
            key = await key_rows.read(connection, name)
        if key is None:
            raise no_key(name)
        return key

    async def all(self) -> list[Key]:
        """All keys, without the keys themselves."""
        async with self._engine.connect() as connection:
            return await key_rows.read_all(connection)


def no_key(name: str) -> NotFound:
    """The error for a client without a key that works, and for one that is not the caller's: both read alike."""
    return NotFound(f"There is no working key {quoted(name)}. `wrapup keys list` shows those there are.")


async def _add(
    connection: AsyncConnection,
    name: str,
    scopes: Sequence[str],
    accounts: Sequence[str],
    expires_at: datetime | None,
) -> str:
    key = new_client_key()
    await key_rows.create(
        connection,
        name=name,
        prefix=key[:9],
        digest=digest(key),
        scopes=scopes,
        accounts=accounts,
        expires_at=expires_at,
    )
    return key


def _passed(expires_at: datetime) -> Fault:
    return Fault("expires_at", f"expires_at, {expires_at.isoformat()}, has passed.")
