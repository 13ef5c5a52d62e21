"""An account's lane: how much may be sent for it just now, learned from how its calls end.

A lane is open, or in doubt. In doubt one call at a time is sent, the probe, and its end decides: the lane opens again,
stays in doubt for longer, or the account goes on hold. Waiting for it costs no disposition a try.

::

    the lane     what happens                    what it becomes
    open         too many calls in trouble       in doubt (breaker): a pause, then a probe
    open         the credentials are refused     in doubt (credentials): a probe at once
    open         "Max limit exceeded", often     open, at half the pace, which climbs back
    open         no token may be asked for yet   in doubt (token): a probe when one may
    on hold      a release, or new settings      in doubt (credentials)
    in doubt     its probe is answered           open
    in doubt     its probe got no token, or      the same doubt, another probe when there may be one
                 one that had ended
    breaker      its probe is in trouble, too    a longer pause, then another probe
    breaker      its probe is refused            in doubt (credentials)
    credentials  its probe is in trouble         a pause, then another probe
    credentials  its probe is refused, too       on hold

Pure: what was, what ended, and the time go in; what is comes out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.replies import Outcome, Remedy, Verdict


class Doubt(StrEnum):
    """Why only one call at a time is sent."""

    BREAKER = "breaker"  # too many calls got no proper answer
    CREDENTIALS = "credentials"  # they were refused once, or are to be tried after a release
    TOKEN = "token"  # noqa: S105  CloudAgent gives no more of them for now


class Sign(StrEnum):
    """What the end of a call says about its account."""

    ANSWERED = "answered"
    TROUBLE = "trouble"
    REFUSED = "refused"
    LIMITED = "limited"
    NO_TOKEN = "no_token"  # noqa: S105  for now
    OLD_TOKEN = "old_token"  # noqa: S105


_TROUBLE = frozenset({Outcome.UNREACHABLE, Outcome.NO_REPLY, Outcome.UPSTREAM_ERROR})


def sign_of(verdict: Verdict) -> Sign:
    """What a verdict says about the account. A refused disposition is an answer like any other."""
    if verdict.outcome in _TROUBLE:
        return Sign.TROUBLE
    if verdict.outcome is Outcome.RATE_LIMITED:
        return Sign.LIMITED
    if verdict.outcome is Outcome.NO_TOKEN:
        return Sign.NO_TOKEN
    if verdict.outcome is Outcome.TOKEN_EXPIRED:
        return Sign.OLD_TOKEN
    return Sign.REFUSED if verdict.remedy is Remedy.FIX_ACCOUNT else Sign.ANSWERED


@dataclass(frozen=True, slots=True)
class Ending:
    """A call that has ended: what it says, and when it started (the database's time).

    ``token_at``: when a token may be asked for, if it had none.
    """

    sign: Sign
    started_at: datetime
    token_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """When a lane comes into doubt, or slows down: what is counted within ``window`` of the first bad end.

    In doubt: ``share`` of at least ``least`` calls in trouble. ``pauses``: how long nothing is sent before the first
    probe, the second, …; the last one repeats. Slower: ``limited_share`` of the calls, and at least ``least_limited``.
    """

    pauses: Sequence[timedelta]
    window: timedelta = timedelta(seconds=30)
    share: float = 0.5
    least: int = 10
    limited_share: float = 0.25
    least_limited: int = 3

    def pause(self, failed_probes: int) -> timedelta:
        """How long to wait for the next probe, after so many that failed."""
        return self.pauses[min(failed_probes, len(self.pauses) - 1)]


LEARNED_DOUBLES_IN = timedelta(minutes=1)
"""A learned rate climbs by itself, without being written: it doubles in this time."""

MEANINGLESS = 1000
"""Calls a second from which on a learned rate is none: it has climbed beyond what any account is sent."""

_SLOWEST = 1 / 60  # calls a second; the slowest limit that CloudAgent documents is five a minute


@dataclass(frozen=True, slots=True)
class Lane:
    """How an account's lane stands. ``probe_at``: the next probe goes then, or when something is due after it.

    The window begins with the first bad end: while all is well there is none, and nothing is counted.
    ``rate`` is what is sent a second at most (None: no limit), as it is set and as it was learned; ``recent`` is what
    was sent a second lately.
    """

    doubt: Doubt | None = None
    probe_at: datetime | None = None
    failed_probes: int = 0
    window_at: datetime | None = None
    window_calls: int = 0
    window_failures: int = 0
    window_limited: int = 0
    learned_rate: float | None = None
    learned_at: datetime | None = None
    rate: float | None = None
    recent: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """What a lane becomes. ``hold``: the probe was refused too, so the account waits for a person."""

    lane: Lane
    hold: bool = False


def after(lane: Lane, endings: Sequence[Ending], now: datetime, policy: LanePolicy) -> Change:
    """The lane after these calls have ended."""
    if lane.doubt is None:
        return Change(_while_open(lane, endings, now, policy))
    # What was under way before says nothing new: it is why there is a doubt.
    probes = [ending for ending in endings if lane.probe_at is not None and ending.started_at >= lane.probe_at]
    if not probes:
        return Change(lane)
    probe = max(probes, key=lambda probe: probe.started_at)
    match probe.sign:
        case Sign.REFUSED if lane.doubt is Doubt.CREDENTIALS:
            return Change(_opened(lane), hold=True)
        case Sign.REFUSED:
            return Change(_doubted(lane, Doubt.CREDENTIALS, now))
        case Sign.TROUBLE:
            failed = lane.failed_probes + 1
            return Change(replace(lane, failed_probes=failed, probe_at=now + policy.pause(failed)))
        case Sign.NO_TOKEN | Sign.OLD_TOKEN:
            return Change(replace(lane, probe_at=probe.token_at or now))
        case _:
            return Change(_opened(lane))


def _while_open(lane: Lane, endings: Sequence[Ending], now: datetime, policy: LanePolicy) -> Lane:
    signs = Counter(ending.sign for ending in endings if not _is_old_news(ending, lane))
    if signs[Sign.REFUSED]:
        return _doubted(lane, Doubt.CREDENTIALS, now)
    if token_at := max((ending.token_at for ending in endings if ending.token_at is not None), default=None):
        return _doubted(lane, Doubt.TOKEN, token_at)
    if lane.window_at is None or now - lane.window_at > policy.window:
        lane = _without_window(lane)
        if signs[Sign.TROUBLE] or signs[Sign.LIMITED]:
            lane = replace(lane, window_at=now)
    if lane.window_at is None:
        return lane
    calls = lane.window_calls + signs.total()
    failures = lane.window_failures + signs[Sign.TROUBLE]
    limited = lane.window_limited + signs[Sign.LIMITED]
    if calls >= policy.least and failures >= policy.share * calls:
        return _doubted(lane, Doubt.BREAKER, now + policy.pause(0))
    if limited >= policy.least_limited and limited >= policy.limited_share * calls:
        return _slower(lane, now)
    return replace(lane, window_calls=calls, window_failures=failures, window_limited=limited)


def _is_old_news(ending: Ending, lane: Lane) -> bool:
    """True if it was too much at a rate that has been lowered since."""
    return ending.sign is Sign.LIMITED and lane.learned_at is not None and ending.started_at <= lane.learned_at


def _slower(lane: Lane, now: datetime) -> Lane:
    """Half of what was sent: once for each rate that was tried, since its other ends are old news then."""
    tried = max(lane.recent, _SLOWEST) if lane.rate is None else min(lane.rate, max(lane.recent, _SLOWEST))
    return replace(_without_window(lane), learned_rate=max(tried / 2, _SLOWEST), learned_at=now)


def _doubted(lane: Lane, doubt: Doubt, probe_at: datetime) -> Lane:
    return replace(_without_window(lane), doubt=doubt, probe_at=probe_at, failed_probes=0)


def _without_window(lane: Lane) -> Lane:
    return replace(lane, window_at=None, window_calls=0, window_failures=0, window_limited=0)


def _opened(lane: Lane) -> Lane:
    return replace(lane, doubt=None, probe_at=None, failed_probes=0)
