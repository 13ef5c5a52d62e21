"""Secrets at rest: an account's apiKey is encrypted with Fernet keys, a client's key is kept as a digest only."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

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

    def encrypt(self, secret: Secret) -> str:
        """The secret as a Fernet token."""
        return self._fernet.encrypt(secret.reveal().encode()).decode()

    def decrypt(self, token: str) -> Secret:
        """The secret of a token; raises ``ConfigurationError`` if no key fits."""
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


def digest(key: str) -> bytes:
    """What is stored of a client's key. It is random and long, so a fast digest is enough, and intake stays fast."""
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
