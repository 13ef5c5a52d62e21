"""The errors of Wrapup, one tree.

::

    WrapupError
    ├── InvalidInput            fields that are wrong, all of them at once
    ├── BodyError               a request's body that can't be read
    │   ├── MalformedBody       not JSON, duplicated keys, bad UTF-8, too deep
    │   ├── BodyTooLarge
    │   ├── UnsupportedBody     a content type or an encoding that is not taken
    │   └── SlowBody            did not arrive in time
    ├── NotAuthenticated        no key, or one that is not known
    ├── NotAllowed              a known caller without the scope
    ├── NotFound                no such thing, or not the caller's
    ├── StateConflict           the thing is in a state that does not allow it
    ├── KeyReused               an Idempotency-Key that came with another body before
    ├── RateLimited             too many requests, or too many wrong keys
    ├── NotStored               the database did not say that it has it: send it again
    └── ConfigurationError      Wrapup itself is set up wrongly

No class knows an HTTP status: ``app/web/problems.py`` maps them in one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class WrapupError(Exception):
    """The base of all errors that Wrapup raises on purpose. Its text is fit for the caller's eyes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong field: its name as the caller sent it, and a sentence that stands alone: what is wrong, with what
    value, and what to do."""

    field: str
    message: str


class InvalidInput(WrapupError):
    """Fields that can't be accepted. ``faults`` names every one of them."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(" ".join(fault.message for fault in self.faults))


class BodyError(WrapupError):
    """A request's body that can't be read."""


class MalformedBody(BodyError):
    """The bytes are not what their content type says, or say it ambiguously."""


class BodyTooLarge(BodyError):
    """More bytes than the limit, declared or arrived."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"The body is larger than {limit} bytes. Send less, or several requests.")


class UnsupportedBody(BodyError):
    """A content type or a content encoding that this address does not take."""


class SlowBody(BodyError):
    """The body did not arrive within the time allowed."""


class NotAuthenticated(WrapupError):
    """No credentials, or credentials that are not known, expired or revoked."""


class NotAllowed(WrapupError):
    """The caller is known and lacks the scope."""


class NotFound(WrapupError):
    """There is no such thing, or it is not the caller's to see: both read alike."""


class StateConflict(WrapupError):
    """The thing is in a state that does not allow what was asked."""


class KeyReused(WrapupError):
    """An ``Idempotency-Key`` that came before, with another body."""


class RateLimited(WrapupError):
    """Too much, too quickly. ``retry_after`` is in seconds."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class NotStored(WrapupError):
    """The database did not confirm. Nothing was promised; the caller sends it again.

    ``retry_after`` is in seconds.
    """

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class ConfigurationError(WrapupError):
    """A setting that is missing or makes no sense, with what to do about it."""
