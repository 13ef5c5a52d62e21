"""Lanes: what the ends of calls tell about accounts, and what follows: a probe, a pause, a slower pace, a hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.lane import Change, Ending, Lane, LanePolicy, Sign, after, sign_of
from app.domain.replies import Verdict
from app.domain.retry import parse_retry_after
from app.storage import accounts, events, lanes
from app.storage.calls import Delivery

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """A call that was made, and what came of it."""

    delivery: Delivery
    verdict: Verdict

    @property
    def sign(self) -> Sign:
        """What it says about the account."""
        return sign_of(self.verdict)

    def token_at(self, now: datetime) -> datetime | None:
        """When a token may be asked for, if this call had none."""
        if self.sign is not Sign.NO_TOKEN:
            return None
        return now + (parse_retry_after(self.verdict.retry_after, now) or timedelta(0))


async def learn(
    connection: AsyncConnection, told: Sequence[Told], now: datetime, policy: LanePolicy, *, worker: str
) -> None:
    """Changes the lanes of these calls, in the transaction that records them.

    While all is well it touches nothing. Locks are taken in everybody's order: calls (by the caller), lanes, accounts,
    each by id.
    """
    by_account: defaultdict[int, list[Told]] = defaultdict(list)
    for one in told:
        by_account[one.delivery.account_id].append(one)
    notable = [
        account_id
        for account_id, ends in by_account.items()
        if any(one.delivery.watched or one.sign is not Sign.ANSWERED for one in ends)
    ]
    locked = await lanes.lock(connection, notable) if notable else {}
    for account_id in sorted(by_account):
        if account_id in locked:
            await _change_lane(connection, by_account[account_id], *locked[account_id], now, policy, worker=worker)
        await _remember_format(connection, by_account[account_id])


async def _change_lane(
    connection: AsyncConnection,
    told: Sequence[Told],
    revision: int,
    lane: Lane,
    now: datetime,
    policy: LanePolicy,
    *,
    worker: str,
) -> None:
    # A refusal of settings that were changed meanwhile says nothing about the new ones.
    valid = [one for one in told if one.sign is not Sign.REFUSED or one.delivery.account_revision == revision]
    endings = [Ending(one.sign, one.delivery.started_at, one.token_at(now)) for one in valid]
    change = after(lane, endings, now, policy)
    if change.lane != lane:
        await lanes.write(connection, told[0].delivery.account_id, change.lane)
        _say(told[0].delivery.customer, lane, change)
    if change.hold:
        refusals = [one for one in valid if one.sign is Sign.REFUSED]
        await _hold(connection, max(refusals, key=lambda one: one.delivery.started_at), worker=worker)


def _say(customer: str, before: Lane, change: Change) -> None:
    lane = change.lane
    if lane.probe_at is not None and lane.probe_at != before.probe_at:
        log.warning(
            "account in doubt: one call at a time",
            account=customer,
            doubt=lane.doubt,
            probe_at=lane.probe_at.isoformat(),
            failed_probes=lane.failed_probes,
        )
    if before.doubt is not None and lane.doubt is None and not change.hold:
        log.info("account's probe is over", account=customer, doubt=before.doubt)
    if lane.learned_at != before.learned_at:
        log.warning("account limited by CloudAgent: slower", account=customer, rate_per_second=lane.learned_rate)


async def _hold(connection: AsyncConnection, probe: Told, *, worker: str) -> None:
    delivery, verdict = probe.delivery, probe.verdict
    said = " ".join(filter(None, (verdict.reply_status, verdict.reply_details)))
    reason = said if verdict.http_status is None else f"HTTP {verdict.http_status}: {said}"
    customer = await accounts.hold(
        connection,
        delivery.account_id,
        cause=verdict.outcome.value,
        reason=reason,
        revision=delivery.account_revision,
    )
    if customer is not None:
        log.error("account put on hold", account=customer, cause=verdict.outcome.value, reason=reason)
        await events.tell(
            connection,
            actor=worker,
            action="account held",
            subject=f"account:{customer}",
            account_id=delivery.account_id,
            reason=f"{verdict.outcome}: {reason}",
        )


async def _remember_format(connection: AsyncConnection, told: Sequence[Told]) -> None:
    """The call-back time format that CloudAgent took, if it is not the one that was known."""
    taken = [
        one.delivery
        for one in told
        if one.verdict.delivered and one.delivery.callback_format not in (None, one.delivery.account_format)
    ]
    if taken:
        newest = max(taken, key=lambda delivery: delivery.account_revision)  # the newest settings have the word
        assert newest.callback_format is not None
        await accounts.remember_format(connection, newest.account_id, newest.callback_format)
