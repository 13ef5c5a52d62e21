"""Who is calling: apiKeys and tokens, and the refusals that CloudAgent has for them.

A token lasts 60 minutes, ten may be made in an hour, and a new one ends those before it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from app.sandbox import replies
from app.sandbox.replies import Reply
from app.sandbox.rules import Verdict
from app.sandbox.state import Account, AccountSettings, Allowance

TOKEN_LIFETIME_SECONDS = 60 * 60
TOKENS_PER_HOUR = 10


@lru_cache(maxsize=1024)
def fingerprint(secret: str) -> str:
    """Eight hex digits that tell one secret from another and can't be turned back."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Presented:
    """The credentials of one request: `kind` is `key` (V3), `json_key` or `token` (V2)."""

    kind: str
    customer: str
    secret: str = field(repr=False)


@dataclass(slots=True)
class _Token:
    text: str
    born: float


@dataclass(slots=True)
class _Tokens:
    """The tokens of one account: the live one, and how many more may be made."""

    allowance: Allowance = field(default_factory=lambda: Allowance(TOKENS_PER_HOUR, 3600.0))
    live: _Token | None = None


class Gate:
    """The accounts, and the check of each request's credentials against them."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self._tokens: dict[str, _Tokens] = {}

    def change(self, customer: str, settings: AccountSettings) -> Account:
        """Changes an account, or opens it. Raises `ValueError` for one that would have no key."""
        account = self.accounts.get(customer)
        if account is None:
            if not settings.get("api_key"):
                raise ValueError(f"the account {customer!r} is new: give its api_key")
            account = Account(customer, settings["api_key"])
        account.change(settings)
        self.accounts[customer] = account
        return account

    def admit(self, presented: Presented, now: float) -> Account | Reply:
        """The account that the credentials open, or the refusal. `now` is in seconds."""
        account = self.accounts.get(presented.customer)
        if presented.kind == "token":
            return self._admit_token(account, presented.secret, now)
        if presented.kind == "json_key" and not presented.customer:
            return replies.NO_USER_NAME
        if account is None or account.api_key != presented.secret:
            return replies.AUTHENTICATION_FAILS if presented.kind == "key" else replies.INVALID_KEY
        return account

    def _admit_token(self, account: Account | None, secret: str, now: float) -> Account | Reply:
        if not secret:
            return replies.NO_TOKEN
        live = self._tokens[account.customer].live if account and account.customer in self._tokens else None
        if account is None or live is None or live.text != secret:
            return replies.INVALID_TOKEN
        return account if now < live.born + TOKEN_LIFETIME_SECONDS else replies.TOKEN_EXPIRED

    def generate_token(self, account: Account, now: float) -> Verdict:
        """A new token for the account, which ends the one before; ten an hour."""
        tokens = self._tokens.setdefault(account.customer, _Tokens())
        if not tokens.allowance.take(now):
            return Verdict(replies.TOKEN_LIMIT)
        tokens.live = _Token(secrets.token_urlsafe(48), now)
        return Verdict(replies.token_granted(tokens.live.text), applied=True)
