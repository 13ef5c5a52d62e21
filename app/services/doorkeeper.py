"""The doorkeeper: knows an account by CloudAgent's own credentials, for callers that send those (the drop-in)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.errors import NotAuthenticated, NotStored, RateLimited
from app.secrets import Cipher, Secret
from app.services.keys import Caller, Scope
from app.services.throttle import Throttle
from app.storage import accounts
from app.storage.engine import DATABASE_TROUBLE

log = structlog.get_logger(__name__)

_REMEMBERED_SECONDS = 2.0

# Wrong keys from one address before it has to wait: for one account, and for all of them together. Behind a proxy all
# callers come from one address, so an account that came with its right key from there goes on when somebody else's
# guesses have used up what all of them may.
_WRONG_MOST = 20
_WRONG_MOST_IN_ALL = 200
_WRONG_WINDOW_SECONDS = 60.0
_REMEMBERED_MOST = 10_000  # of those who were right


class Doorkeeper:
    """Lets callers in by ``apiKey`` and ``customer``. ``clock`` gives seconds, as ``time.monotonic`` does."""

    def __init__(self, engine: AsyncEngine, cipher: Cipher, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._cipher = cipher
        self._clock = clock
        self._nobodys = Secret(secrets.token_urlsafe(32))  # what a key for an unknown account is compared with
        self._remembered: dict[str, tuple[float, Secret]] = {}
        self._wrong = Throttle(_WRONG_MOST, _WRONG_WINDOW_SECONDS, clock)  # by address and account
        self._wrong_in_all = Throttle(_WRONG_MOST_IN_ALL, _WRONG_WINDOW_SECONDS, clock)  # by address
        self._right: set[tuple[str, str]] = set()

    async def authenticate(self, customer: str, api_key: Secret, *, address: str) -> Caller:
        """The account as a caller.

        Raises ``NotAuthenticated``, ``RateLimited`` for who was wrong too often, and ``NotStored`` if the database
        does not answer.

        Compares in constant time, also where there is no such account: neither the answer nor its time tells which
        of the two was wrong.
        """
        wait = self._wrong.wait((address, customer))
        if (address, customer) not in self._right:
            wait = max(wait, self._wrong_in_all.wait(address))
        if wait:
            raise RateLimited("Too many wrong keys from this address.", retry_after=wait)
        if await self._key_of(customer, self._clock()) == api_key:
            if len(self._right) >= _REMEMBERED_MOST:
                self._right.clear()
            self._right.add((address, customer))
            return Caller(f"drop-in:{customer}", frozenset({Scope.SUBMIT}), frozenset({customer}))
        self._wrong.count((address, customer))
        self._wrong_in_all.count(address)
        log.warning("wrong credentials", address=address)
        raise NotAuthenticated("The apiKey and the customer do not match an account.")

    async def _key_of(self, customer: str, now: float) -> Secret:
        remembered = self._remembered.get(customer)
        if remembered and remembered[0] > now:
            return remembered[1]
        try:
            async with self._engine.connect() as connection:
                account = await accounts.read(connection, customer)
        except DATABASE_TROUBLE:
            raise NotStored("The database does not answer. Send it again.") from None
        if account is None:
            return self._nobodys
        key = self._cipher.decrypt(account.api_key)
        self._remembered[customer] = now + _REMEMBERED_SECONDS, key
        return key
