"""Attention: what needs a person now, the most pressing first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.domain.failures import advise_no_answer
from app.domain.lane import Doubt
from app.domain.lifecycle import WAITING
from app.services.accounts import Accounts
from app.services.failures import Failures
from app.services.health import Health
from app.services.keys import Caller
from app.storage.failures import Wanted

LATE_SECONDS = 60.0
"""What is due is picked up within a second; a minute late, deliveries fall behind."""

FAILURES_SHOWN = 5
"""The largest ones. The page of failures has all."""


class Kind(StrEnum):
    """Why somebody is needed."""

    NOBODY_DELIVERS = "nobody_delivers"
    HOLD = "hold"
    NO_ANSWER = "no_answer"
    LATE = "late"
    FAILURE = "failure"
    MORE_FAILURES = "more_failures"  # than are shown


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that needs a person. ``about`` is the hold, the failure, or what there is to say of an account without
    an answer; ``count``: how many dispositions wait for it, or failed, or how many more failures there are;
    ``seconds``: how late the oldest is.
    """

    kind: Kind
    count: int = 0
    seconds: float = 0.0
    detail: str = ""
    about: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Attention:
    """Puts together what several services see."""

    health: Health
    failures: Failures
    accounts: Accounts

    async def needs(self, caller: Caller, stats: dict[str, Any]) -> Sequence[Need]:
        """What needs a person, among what is the caller's. ``stats`` are those of ``Reports.stats``."""
        broken = [check for check in await self.health.ready() if not check.ok]
        found = [Need(Kind.NOBODY_DELIVERS, detail=check.detail) for check in broken]
        wanted = Wanted(acknowledged=False, only_accounts=caller.accounts)
        to_fix = await self.failures.all(wanted, limit=FAILURES_SHOWN)
        holds = sorted(to_fix.holds, key=lambda hold: -hold["waiting"])
        found += [Need(Kind.HOLD, count=hold["waiting"], about=hold) for hold in holds]
        found += await self._without_answer(caller, stats)
        if stats["oldest_due_seconds"] > LATE_SECONDS:
            found.append(Need(Kind.LATE, seconds=stats["oldest_due_seconds"]))
        found += [Need(Kind.FAILURE, count=failure["count"], about=failure) for failure in to_fix.failures]
        if more := to_fix.total - len(to_fix.failures):
            found.append(Need(Kind.MORE_FAILURES, count=more))
        return found

    async def _without_answer(self, caller: Caller, stats: dict[str, Any]) -> Sequence[Need]:
        """Accounts whose CloudAgent gives no proper answer while something waits for it."""
        found = []
        for one in await self.accounts.all():
            states = stats["accounts"].get(one.customer, {})
            waiting = sum(states.get(state, 0) for state in WAITING)
            if one.doubt == Doubt.BREAKER and not one.on_hold and waiting and caller.owns(one.customer):
                advice = advise_no_answer(one.customer)
                about = {"account": one.customer, "owner": advice.owner, "hint": advice.hint, "probe_at": one.probe_at}
                found.append(Need(Kind.NO_ANSWER, count=waiting, about=about))
        return found
