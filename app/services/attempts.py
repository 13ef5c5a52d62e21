"""Attempts: their ends, recorded in groups with all that follows from them; and those whose worker was lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.cloudagent.client import FLAVOURS
from app.domain.callback_time import CallbackFormat
from app.domain.lane import LanePolicy
from app.domain.replies import Certainty, Outcome, Verdict
from app.domain.retry import RetryPolicy, Situation, decide
from app.services import lanes
from app.services.group_commit import GroupCommit
from app.storage import attempts, calls
from app.storage.attempts import Finish
from app.storage.calls import Delivery
from app.storage.engine import DATABASE_TROUBLE

log = structlog.get_logger(__name__)

_PAUSE_AFTER_TROUBLE = 0.5  # seconds, before the database is asked again


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that has ended, on its way into the record. ``made``: CloudAgent was called, or could not be."""

    delivery: Delivery
    verdict: Verdict
    notes: Sequence[str] = ()
    made: bool = True


class Record:
    """Writes the ends of attempts down. What ends while a group is being written is the next group."""

    def __init__(
        self,
        engine: AsyncEngine,
        retry: RetryPolicy,
        lane: LanePolicy,
        *,
        name: str,
        jitter: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._retry = retry
        self._lane = lane
        self._name = name
        self._jitter = jitter
        self._groups: GroupCommit[Ended, None] = GroupCommit(self._write, writers=1)

    async def add(self, ended: Ended) -> None:
        """Returns when it is committed."""
        await self._groups.submit(ended)

    async def _write(self, ended: Sequence[Ended]) -> Sequence[None]:
        """Records a group in one transaction, trying until the database takes it.

        Trying again is safe, also after a COMMIT without an answer: what is recorded has given its lease back, and
        comes out as late, which changes nothing.
        """
        while True:
            try:
                async with self._engine.begin() as connection:
                    await self._write_in(connection, ended)
                return [None] * len(ended)
            except DATABASE_TROUBLE as error:
                log.warning("can't record, trying again", attempts=len(ended), error=type(error).__name__)
                await asyncio.sleep(_PAUSE_AFTER_TROUBLE)

    async def _write_in(self, connection: AsyncConnection, ended: Sequence[Ended]) -> None:
        current, now = await calls.lock_current(
            connection, [(one.delivery.call_id, one.delivery.epoch) for one in ended]
        )
        assert now is not None
        in_time = [one for one in ended if (one.delivery.call_id, one.delivery.epoch) in current]
        late = [one for one in ended if (one.delivery.call_id, one.delivery.epoch) not in current]
        if in_time:
            in_time = await _confirm(connection, in_time)
            finishes = [self._finish(one, now) for one in in_time]
            await attempts.finish(connection, finishes, now, worker=self._name)
            told = [lanes.Told(one.delivery, one.verdict) for one in in_time if one.made]
            await lanes.learn(connection, told, now, self._lane, worker=self._name)
        if late:
            log.warning("finished after the lease was out", attempts=[str(one.delivery.attempt_id) for one in late])
            await attempts.note_late(connection, [(one.delivery.attempt_id, one.verdict, now) for one in late])

    def _finish(self, ended: Ended, now: datetime) -> Finish:
        delivery = ended.delivery
        situation = Situation(
            tries=delivery.tries,
            now=now,
            expires_at=delivery.expires_at,
            jitter=self._jitter(),
            other_format_left=_has_another_format(delivery),
            attempts=delivery.attempt_number,
            after_token_expired=delivery.after_token_expired,
        )
        decision = decide(ended.verdict, situation, self._retry)
        return Finish(
            call_id=delivery.call_id,
            epoch=delivery.epoch,
            account_id=delivery.account_id,
            disposition_id=delivery.disposition_id,
            attempt_id=delivery.attempt_id,
            verdict=ended.verdict,
            decision=decision,
            next_format=CallbackFormat(delivery.account_format).other if decision.other_format else None,
            notes=ended.notes,
        )


async def _confirm(connection: AsyncConnection, ended: Sequence[Ended]) -> list[Ended]:
    """Makes a delivery of "already disposed" where an earlier attempt of the same disposition did that."""
    refused = [one.delivery.disposition_id for one in ended if one.verdict.outcome is Outcome.ALREADY_DISPOSED]
    landed = await attempts.landed_before(connection, refused) if refused else ()
    return [
        replace(one, verdict=replace(one.verdict, outcome=Outcome.CONFIRMED_BY_CONFLICT))
        if one.delivery.disposition_id in landed
        else one
        for one in ended
    ]


def _has_another_format(delivery: Delivery) -> bool:
    flavour = FLAVOURS.get(delivery.api)
    two = flavour is not None and flavour.two_callback_formats
    return two and delivery.callback_time is not None and delivery.callback_format is None


async def recover(
    engine: AsyncEngine,
    policy: RetryPolicy,
    *,
    name: str,
    jitter: Callable[[], float] = random.random,
    limit: int = 500,
) -> int:
    """Takes back what dead workers held: the attempt's outcome is unknown, and it is repeated on schedule.

    Gives the number of attempts; ``limit`` bounds one call. On hold or not: an attempt never stays open.
    """
    lost = Verdict(Outcome.UNKNOWN, Certainty.SENT_UNKNOWN, 0, reply_details="the worker was lost")
    async with engine.begin() as connection:
        abandoned = await calls.lock_abandoned(connection, limit=limit)
        if not abandoned:
            return 0
        finishes = [
            Finish(
                call_id=one.call_id,
                epoch=one.epoch,
                account_id=one.account_id,
                disposition_id=one.disposition_id,
                attempt_id=one.attempt_id,
                verdict=lost,
                decision=decide(lost, Situation(one.tries, one.now, one.expires_at, jitter()), policy),
                finished=False,
            )
            for one in abandoned
        ]
        await attempts.finish(connection, finishes, max(one.now for one in abandoned), worker=name)
    log.warning("attempts of lost workers", attempts=len(abandoned))
    return len(abandoned)
