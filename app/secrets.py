"""Secrets at rest: an account's apiKey is encrypted with Fernet keys; a client's key, a session and a sign-in link are
kept as digests only, and a password as argon2id makes it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.domain.errors import ConfigurationError


class Secret:
    """A clear text that does not show itself: its ``repr`` and ``str`` are masked. ``reveal()`` gives the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Call it where it is used, and bind it to no name that lives on."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and secrets.compare_digest(
            self._text.encode("utf-8", "surrogatepass"), other._text.encode("utf-8", "surrogatepass")
        )

    __hash__ = None  # type: ignore[assignment]  # a secret is nobody's dictionary key


class Cipher:
    """Encrypts with the first key, decrypts with any: a new key is put in front, the old ones stay behind."""

    def __init__(self, keys: Sequence[str]) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except (ValueError, TypeError):
            raise ConfigurationError(
                "WRAPUP_SECRET_KEYS holds something that is no Fernet key (32 bytes in url-safe base64). Make one "
                "with: python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
            ) from None
        # Deliveries ask for the same few apiKeys thousands of times a second.
        self._decrypted = lru_cache(maxsize=1000)(self._decrypt)

    def encrypt(self, secret: Secret) -> str:
        """The secret as a Fernet token."""
        return self._fernet.encrypt(secret.reveal().encode()).decode()

    def decrypt(self, token: str) -> Secret:
        """The secret of a token; raises ``ConfigurationError`` if no key fits."""
        return self._decrypted(token)

    def _decrypt(self, token: str) -> Secret:
        try:
            return Secret(self._fernet.decrypt(token.encode()).decode())
        except InvalidToken:
            raise ConfigurationError(
                "An account's apiKey can't be decrypted with WRAPUP_SECRET_KEYS. Put the key that encrypted it back "
                "into the list (behind the new one), or set the apiKey again."
            ) from None


KEY_PREFIX = "wk_"


def new_client_key() -> str:
    """A new API key for a client: 256 random bits that can be recognised as ours."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def new_token() -> str:
    """A new session or sign-in link: 256 random bits, fit for a cookie and for an address."""
    return secrets.token_urlsafe(32)


def digest(key: str) -> bytes:
    """What is stored of a key or a token. It is random and long, so a fast digest is enough, and intake stays fast."""
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()


def form_token(session: str) -> str:
    """What the forms of a session's pages carry, so that no other site's page can send one (CSRF).

    Made from the session's token, so it is as secret, ends with it and needs no row; and the token can't be had back
    from it.
    """
    return hmac.digest(session.encode(), b"wrapup form", "sha256").hex()


# RFC 9106's second choice, the library's default: 64 MiB and about 50 ms.
_PASSWORDS = PasswordHasher()


def hash_password(password: Secret) -> str:
    """What is stored of a password. Takes 50 ms of a processor: never on the event loop."""
    return _PASSWORDS.hash(password.reveal())


def password_fits(stored: str, password: Secret) -> bool:
    """True if that is the password. Takes 50 ms of a processor: never on the event loop."""
    try:
        return _PASSWORDS.verify(stored, password.reveal())
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(stored: str) -> bool:
    """True if a new hash of the same password would be a stronger one: the library's defaults have risen since."""
    return _PASSWORDS.check_needs_rehash(stored)
