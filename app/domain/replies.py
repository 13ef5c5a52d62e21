"""CloudAgent's replies and what each means to us: text in, outcome out.

The rows are those of "Set Disposition After Wrapup Time" (V3) and of its JSON successors, as the vendor documents
them. Wordings come with stray spaces, in any letter case, with ``details`` or ``message``, so they are compared
folded. A wording that is not known is never guessed to be a success.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from json import JSONDecodeError, loads
from typing import Any


class Outcome(StrEnum):
    """What an attempt came to: a row of the reply table, or a case that the table does not have."""

    SAVED = "saved"
    QUEUED_UPSTREAM = "queued_upstream"
    UPDATED = "updated"
    CONFIRMED_BY_CONFLICT = "confirmed_by_conflict"
    AUTHENTICATION_FAILED = "authentication_failed"
    MISCONFIGURED = "misconfigured"
    INVALID_CALL = "invalid_call"
    INVALID_ACTION = "invalid_action"
    EMPTY_DISPOSITION = "empty_disposition"
    INVALID_AGENT = "invalid_agent"
    INVALID_CALLBACK_TIME = "invalid_callback_time"
    PAUSE_REASON_MISSING = "pause_reason_missing"
    ALREADY_DISPOSED = "already_disposed"
    REFUSED = "refused"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  it served before, and is refused now
    NO_TOKEN = "no_token"  # noqa: S105  none may be asked for now, so nothing was sent
    RETRY_LATER = "retry_later"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_ERROR = "upstream_error"
    UNREACHABLE = "unreachable"
    NO_REPLY = "no_reply"
    UNREADABLE_REPLY = "unreadable_reply"
    UNKNOWN = "unknown"
    CALLBACK_PASSED = "callback_passed"


class Remedy(StrEnum):
    """What an outcome asks for next."""

    NONE = "none"  # delivered
    FIX_DATA = "fix_data"  # the disposition is wrong: no repeat helps
    FIX_ACCOUNT = "fix_account"  # the account is wrong: hold it, the disposition waits
    OTHER_FORMAT = "other_format"  # the call-back time, once more in the other format
    NEW_TOKEN = "new_token"  # noqa: S105  the same once more, with another token
    WAIT_FOR_TOKEN = "wait_for_token"  # noqa: S105  until another token may be asked for
    WAIT = "wait"  # try again later


class Certainty(StrEnum):
    """What is known about whether CloudAgent got the request."""

    ANSWERED = "answered"
    NOT_SENT = "not_sent"
    SENT_UNKNOWN = "sent_unknown"


REMEDIES: Mapping[Outcome, Remedy] = {
    Outcome.SAVED: Remedy.NONE,
    Outcome.QUEUED_UPSTREAM: Remedy.NONE,
    Outcome.UPDATED: Remedy.NONE,
    Outcome.CONFIRMED_BY_CONFLICT: Remedy.NONE,
    Outcome.AUTHENTICATION_FAILED: Remedy.FIX_ACCOUNT,
    Outcome.MISCONFIGURED: Remedy.FIX_ACCOUNT,
    Outcome.INVALID_CALL: Remedy.FIX_DATA,
    Outcome.INVALID_ACTION: Remedy.FIX_DATA,
    Outcome.EMPTY_DISPOSITION: Remedy.FIX_DATA,
    Outcome.INVALID_AGENT: Remedy.FIX_DATA,
    Outcome.INVALID_CALLBACK_TIME: Remedy.OTHER_FORMAT,
    Outcome.PAUSE_REASON_MISSING: Remedy.FIX_DATA,
    Outcome.ALREADY_DISPOSED: Remedy.FIX_DATA,
    Outcome.REFUSED: Remedy.FIX_DATA,
    Outcome.TOKEN_EXPIRED: Remedy.NEW_TOKEN,
    Outcome.NO_TOKEN: Remedy.WAIT_FOR_TOKEN,
    Outcome.RETRY_LATER: Remedy.WAIT,
    Outcome.RATE_LIMITED: Remedy.WAIT,
    Outcome.UPSTREAM_ERROR: Remedy.WAIT,
    Outcome.UNREACHABLE: Remedy.WAIT,
    Outcome.NO_REPLY: Remedy.WAIT,
    Outcome.UNREADABLE_REPLY: Remedy.WAIT,
    Outcome.UNKNOWN: Remedy.WAIT,
    Outcome.CALLBACK_PASSED: Remedy.FIX_DATA,  # never sent: a person looks at it first, as the account wants it
}


@dataclass(frozen=True, slots=True)
class Answer:
    """CloudAgent, or something in its place, answered in full. ``latency_ms`` is in milliseconds."""

    http_status: int
    body: bytes
    retry_after: str | None = None
    content_type: str | None = None
    latency_ms: int = 0
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The call ended without a full answer. ``reason`` is a short sentence without query or secret."""

    certainty: Certainty
    reason: str
    latency_ms: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """An attempt's outcome as it is recorded, with CloudAgent's own words beside ours."""

    outcome: Outcome
    certainty: Certainty
    latency_ms: int
    http_status: int | None = None
    reply_status: str | None = None
    reply_details: str | None = None
    retry_after: str | None = None

    @property
    def remedy(self) -> Remedy:
        """What this outcome asks for next."""
        return REMEDIES[self.outcome]

    @property
    def delivered(self) -> bool:
        """True if CloudAgent has the disposition."""
        return self.remedy is Remedy.NONE


@dataclass(frozen=True, slots=True)
class Row:
    """One wording of the reply table. ``status`` is what CloudAgent says beside it; "" takes any."""

    status: str
    details: re.Pattern[str]
    outcome: Outcome


def _row(status: str, details: str, outcome: Outcome) -> Row:
    return Row(status, re.compile(details), outcome)


# Compared after folding: lower case, single spaces, none at the ends, no full stop at the end.
# ``fullmatch``: a longer text is another text, and no guess is made about it.
REPLY_TABLE: tuple[Row, ...] = (
    # V3, in the order of the vendor's page.
    _row("success", r"disposition saved successfully", Outcome.SAVED),
    _row("success", r"(disposition )?queued successfully", Outcome.QUEUED_UPSTREAM),
    _row("success", r"disposition updated successfully", Outcome.UPDATED),
    _row("fail", r"authentication fail(s|ed)", Outcome.AUTHENTICATION_FAILED),
    _row("fail", r"invalid (ucid|did)\b.*", Outcome.INVALID_CALL),
    _row("error", r"unable to dispose ?\. ?please retry after some time", Outcome.RETRY_LATER),
    _row("fail", r"invalid action ?-> ?.*", Outcome.INVALID_ACTION),
    _row("fail", r"empty disposition code", Outcome.EMPTY_DISPOSITION),
    _row("fail", r"invalid agent", Outcome.INVALID_AGENT),
    _row("fail", r"callbacktime should be in .*", Outcome.INVALID_CALLBACK_TIME),
    # V2, JSON.
    _row("fail", r"this call is already disposed", Outcome.ALREADY_DISPOSED),
    _row("fail", r"provide pause reason", Outcome.PAUSE_REASON_MISSING),
    _row("", r"invalid username or apikey", Outcome.AUTHENTICATION_FAILED),
    _row("", r"(token expired|invalid token|token should not be null or empty)", Outcome.AUTHENTICATION_FAILED),
    # Documented for the sibling APIs.
    _row("", r"max(imum)? limit exceeded", Outcome.RATE_LIMITED),
)

# CloudAgent's word for a status that the table does not have with these details.
_UNKNOWN_WORDING: Mapping[str, Outcome] = {
    "fail": Outcome.REFUSED,  # shown for review, with its text
    "false": Outcome.REFUSED,
    "error": Outcome.RETRY_LATER,  # "any other Error": wait; attempts and age bound it
}

_TEXT_LIMIT = 500  # characters of CloudAgent's words that are kept

# No text of theirs may break a line of ours, or a page: control characters become spaces.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def classify(result: Answer | NoAnswer) -> Verdict:
    """What one call to CloudAgent came to.

    HTTP status and body must agree: a 500 with a success body is not a success, nor is a 200 with HTML. A 2xx or
    4xx status leaves the word to the body; where the body says nothing, the status speaks.
    """
    if isinstance(result, NoAnswer):
        outcome = Outcome.UNREACHABLE if result.certainty is Certainty.NOT_SENT else Outcome.NO_REPLY
        return Verdict(outcome, result.certainty, result.latency_ms, reply_details=_shorten(result.reason))

    said = None if result.too_large else _read(result.body)
    status, details = said or (None, None)
    outcome = _by_http_status(result.http_status) or _by_wording(result.http_status, status, details)
    if details is None:
        details = _excerpt(result)
    # An answer that can't be read leaves open whether the disposition was applied before it was garbled.
    unreadable = outcome is Outcome.UNREADABLE_REPLY
    return Verdict(
        outcome,
        Certainty.SENT_UNKNOWN if unreadable else Certainty.ANSWERED,
        result.latency_ms,
        http_status=result.http_status,
        reply_status=_shorten(status),
        reply_details=_shorten(details),
        retry_after=result.retry_after,
    )


def _by_http_status(http_status: int) -> Outcome | None:
    """The outcome where the HTTP status has the last word, else None."""
    if http_status == 429:
        return Outcome.RATE_LIMITED
    if http_status in (401, 403):
        return Outcome.AUTHENTICATION_FAILED
    if http_status == 404 or 300 <= http_status < 400:
        return Outcome.MISCONFIGURED
    if http_status >= 500 or http_status == 408:
        return Outcome.UPSTREAM_ERROR
    return None


def _by_wording(http_status: int, status: str | None, details: str | None) -> Outcome:
    """The outcome of a body that came with 2xx or an unspecific 4xx."""
    if status is None and details is None:
        return Outcome.UNREADABLE_REPLY
    said_status, said_details = _fold(status), _fold(details)
    for row in REPLY_TABLE:
        if row.status in ("", said_status) and row.details.fullmatch(said_details):
            outcome = row.outcome
            break
    else:
        outcome = _UNKNOWN_WORDING.get(said_status, Outcome.UNREADABLE_REPLY)
    if REMEDIES[outcome] is Remedy.NONE and not 200 <= http_status < 300:
        return Outcome.UNREADABLE_REPLY
    return outcome


def _read(body: bytes) -> tuple[str | None, str | None] | None:
    """``(status, details)`` of a body that is CloudAgent's JSON, else None. ``message`` serves for ``details``."""
    try:
        # Strict: UTF-8 with or without a byte-order mark; the content type is not trusted, the bytes are.
        parsed = loads(body.decode("utf-8-sig"))
    except (UnicodeDecodeError, JSONDecodeError, RecursionError, ValueError):
        return None
    if not isinstance(parsed, dict):
        return None
    fields: dict[str, Any] = {str(key).strip().lower(): value for key, value in parsed.items()}
    status = _text(fields.get("status"))
    details = _text(fields.get("details")) or _text(fields.get("message"))
    return None if status is None and details is None else (status, details)


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()  # some pages show "status": false
    return value if isinstance(value, str) else None


def _fold(text: str | None) -> str:
    return " ".join((text or "").lower().split()).rstrip(". ")


def _excerpt(answer: Answer) -> str:
    """The start of a body that could not be read: it tells a person what stood in CloudAgent's place."""
    if answer.too_large:
        return "the reply was larger than the limit"
    return answer.body[:200].decode("utf-8", "replace") or "the reply was empty"


def _shorten(text: str | None) -> str | None:
    if text is None:
        return None
    clean = _CONTROL.sub(" ", text).strip()
    return clean if len(clean) <= _TEXT_LIMIT else clean[: _TEXT_LIMIT - 1] + "…"
