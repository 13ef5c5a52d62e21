"""Keys: who a caller is, and what it may do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.errors import Fault, InvalidInput, NotAllowed, NotAuthenticated, NotFound
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

    @property
    def bound_account(self) -> str | None:
        """The account that is meant when none is named: that of a key that is bound to exactly one."""
        return next(iter(self.accounts)) if len(self.accounts) == 1 else None


# The command line beside the database: whoever can read the data dir may do everything.
OPERATOR = Caller("cli", frozenset(Scope))

_REMEMBERED_SECONDS = 2.0  # so long a revoked key may go on
_REMEMBERED_MOST = 10_000
_USE_NOTED_SECONDS = 60.0


class Keys:
    """Makes keys, revokes them, and knows a caller by one."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._remembered: dict[bytes, tuple[float, Caller]] = {}
        self._use_noted: dict[bytes, float] = {}

    async def authenticate(self, key: str) -> Caller:
        """The caller whose key this is; raises ``NotAuthenticated``."""
        fingerprint = digest(key)
        now = time.monotonic()
        remembered = self._remembered.get(fingerprint)
        if remembered and remembered[0] > now:
            return remembered[1]
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

    async def create(
        self,
        name: str,
        scopes: Sequence[str],
        accounts: Sequence[str] = (),
        *,
        expires_at: datetime | None = None,
        actor: str = OPERATOR.actor,
    ) -> str:
        """Makes a key and gives it: the only time that it is seen. Raises ``InvalidInput`` with every fault."""
        faults = [
            Fault("scope", f"{scope!r} is no scope; there are: {', '.join(Scope)}.")
            for scope in scopes
            if scope not in set(Scope)
        ]
        if not scopes:
            faults.append(Fault("scope", f"scope is missing: give at least one of {', '.join(Scope)}."))
        if not name.strip() or len(name) > 100 or not name.isprintable():
            faults.append(Fault("name", "name must have 1 to 100 visible characters."))
        if expires_at is not None and expires_at <= datetime.now(UTC):
            faults.append(Fault("expires_at", f"expires_at, {expires_at.isoformat()}, has passed."))
        key = new_client_key()
        async with self._engine.begin() as connection:
            known = {account.customer for account in await account_rows.read_all(connection)}
            faults += [
                Fault("account", f"There is no account {account!r}; `wrapup accounts list` shows those there are.")
                for account in accounts
                if account not in known
            ]
            if faults:
                raise InvalidInput(faults)
            try:
                await key_rows.create(
                    connection,
                    name=name,
                    prefix=key[:9],
                    digest=digest(key),
                    scopes=sorted(set(scopes)),
                    accounts=sorted(set(accounts)),
                    expires_at=expires_at,
                )
            except IntegrityError:
                raise InvalidInput([Fault("name", f"There is a key {name!r} already: choose another name.")]) from None
            await events.tell(connection, actor=actor, action="key created", subject=f"key:{name}")
        return key

    async def revoke(self, name: str, *, actor: str = OPERATOR.actor, reason: str | None = None) -> None:
        """Revokes a key within seconds everywhere; raises ``NotFound``."""
        async with self._engine.begin() as connection:
            if not await key_rows.revoke(connection, name):
                raise NotFound(f"There is no working key {name!r}. `wrapup keys list` shows those there are.")
            await events.tell(connection, actor=actor, action="key revoked", subject=f"key:{name}", reason=reason)

    async def all(self) -> list[Key]:
        """All keys, without the keys themselves."""
        async with self._engine.connect() as connection:
            return await key_rows.read_all(connection)
