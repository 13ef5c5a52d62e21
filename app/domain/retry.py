"""What follows an attempt: a value, made by a pure function of everything that it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from app.domain.lifecycle import (
    DELIVER,
    FAIL,
    PUT_BACK,
    RETRY_LATER,
    Cause,
    Edge,
)
from app.domain.replies import Remedy, Verdict

# A Retry-After below the first is a slip of theirs, above the second it would outlive the disposition's usefulness.
RETRY_AFTER_FLOOR = timedelta(seconds=1)
RETRY_AFTER_CEILING = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The schedule. ``delays`` are base delays; the last one repeats. ``max_attempts`` counts the first, too."""

    delays: Sequence[timedelta]
    max_attempts: int

    def delay(self, tries: int, jitter: float) -> timedelta:
        """The pause after ``tries`` tries (from 1). Full jitter: ``jitter`` in [0, 1) of the base delay."""
        return self.delays[min(tries, len(self.delays)) - 1] * jitter


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the disposition: the way it takes and what goes with it."""

    edge: Edge
    cause: str | None = None  # why it failed: an outcome or a ``Cause``
    next_attempt_at: datetime | None = None
    other_format: bool = False  # the next attempt writes the call-back time in the account's other format


@dataclass(frozen=True, slots=True)
class Situation:
    """What a decision depends on besides the verdict. Times are aware and of the database's clock.

    ``tries`` counts the attempts that were the disposition's own, this one included: an attempt that only showed
    that the account is in trouble is no try. ``jitter`` is a random number in [0, 1), drawn by the caller.
    ``attempts`` counts all of them. ``other_format_left``: there is a call-back time, and its other format was not
    tried yet. ``after_token_expired``: the attempt before this one was refused for its token, and was no try.
    """

    tries: int
    now: datetime
    expires_at: datetime
    jitter: float
    other_format_left: bool = False
    attempts: int = 1
    after_token_expired: bool = False


def decide(verdict: Verdict, situation: Situation, policy: RetryPolicy) -> Decision:
    """What follows an attempt with this verdict. Pure: the same arguments, the same decision."""
    match verdict.remedy:
        case Remedy.NONE:
            return Decision(DELIVER)
        case Remedy.FIX_DATA:
            return Decision(FAIL, cause=verdict.outcome)
        case Remedy.FIX_ACCOUNT:
            return Decision(PUT_BACK, next_attempt_at=situation.now + _before_another_refusal(situation, policy))
        case Remedy.OTHER_FORMAT:
            if not situation.other_format_left:
                return Decision(FAIL, cause=verdict.outcome)
            return _again(situation, policy, situation.now, other_format=True)
        case Remedy.NEW_TOKEN if not situation.after_token_expired:
            return Decision(PUT_BACK, next_attempt_at=situation.now)
        case Remedy.WAIT_FOR_TOKEN:
            asked = parse_retry_after(verdict.retry_after, situation.now)
            return Decision(PUT_BACK, next_attempt_at=situation.now + (asked or RETRY_AFTER_FLOOR))
        case Remedy.WAIT | Remedy.NEW_TOKEN:
            pause = policy.delay(situation.tries, situation.jitter)
            asked = parse_retry_after(verdict.retry_after, situation.now)
            return _again(situation, policy, situation.now + max(pause, asked or pause))


def _before_another_refusal(situation: Situation, policy: RetryPolicy) -> timedelta:
    """At once, since the account is asked once more and then held. Later if it goes on: where the others get through,
    something in this one is refused (a firewall's 403), and without a pause it would take the lane from them for ever.
    """
    return policy.delay(situation.attempts - 1, situation.jitter) if situation.attempts > 1 else timedelta(0)


def _again(situation: Situation, policy: RetryPolicy, at: datetime, *, other_format: bool = False) -> Decision:
    """One more attempt at ``at``, unless the tries or the time are used up."""
    if situation.tries >= policy.max_attempts:
        return Decision(FAIL, cause=Cause.ATTEMPTS_EXHAUSTED)
    if situation.now >= situation.expires_at:
        return Decision(FAIL, cause=Cause.EXPIRED)
    return Decision(RETRY_LATER, next_attempt_at=at, other_format=other_format)


def parse_retry_after(header: str | None, now: datetime) -> timedelta | None:
    """The pause that a ``Retry-After`` asks for, clamped; seconds or an HTTP date. None if absent or nonsense."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        asked = timedelta(seconds=int(text))
    else:
        try:
            until = parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
        if until.tzinfo is None:
            return None
        asked = until - now
    return min(max(asked, RETRY_AFTER_FLOOR), RETRY_AFTER_CEILING)
