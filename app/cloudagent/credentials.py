"""The apiKey on its way to the wire.

A key that is part of a URL or a header of an ``httpx.Request`` shows in log lines, ``repr`` and traces. So a
request carries it aside, as one of the two places below in ``request.extensions["wrapup.secret"]``, and only
``wire.py`` puts it in, into bytes that nobody holds on to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote, quote_plus

from app.cloudagent.failures import NotSent
from app.secrets import Secret

_HEADER_TEXT = re.compile(r"[\x21-\x7e]+")
_SPELLINGS = (str, partial(quote, safe="", errors="replace"), partial(quote_plus, errors="replace"))
_SHORTEST_ECHO = 4  # characters; to blot out shorter "keys" would blot out ordinary words


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an account is known by at CloudAgent, beside its ``customer`` name.

    ``token``: what CloudAgent gave for the key, for the flavour that asks for it.
    """

    api_key: Secret
    token: Secret | None = None


@dataclass(frozen=True, slots=True)
class SecretQuery:
    """A secret that goes into the query as parameter ``name``."""

    name: str
    secret: Secret

    def parameter(self) -> bytes:
        """``name=value``, strictly percent-encoded: no value can end the parameter or the line."""
        return f"{self.name}={quote(self.secret.reveal(), safe='', errors='replace')}".encode()


@dataclass(frozen=True, slots=True)
class SecretHeader:
    """A secret that goes into the header ``name``, behind ``prefix`` (``"Bearer "``)."""

    name: str
    secret: Secret
    prefix: str = ""

    def line(self) -> bytes:
        """``name: value`` with its line end; raises ``NotSent`` if no header can hold the secret."""
        if not _HEADER_TEXT.fullmatch(self.secret.reveal()):
            raise NotSent(f"the secret for the header {self.name} is not plain ASCII without spaces")
        return f"{self.name}: {self.prefix}{self.secret.reveal()}\r\n".encode()


def without_echo(body: bytes, credentials: Credentials) -> bytes:
    """``body`` with the secrets blotted out: a reply may repeat the URL, and replies are recorded."""
    for secret in (credentials.api_key, credentials.token):
        if secret is not None and len(secret.reveal()) >= _SHORTEST_ECHO:
            for spelling in _SPELLINGS:
                body = body.replace(spelling(secret.reveal()).encode("utf-8", "replace"), b"***")
    return body
