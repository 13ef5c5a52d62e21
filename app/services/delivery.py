"""Delivery: claim, call, classify, record.

The pump keeps calls to CloudAgent in flight and claims more as they end; nothing waits for the slowest. Each attempt
is committed before its call, and its end is recorded only by who still holds the call's lease.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.broker import Bell
from app.cloudagent.client import FLAVOURS, CloudAgentClient
from app.cloudagent.credentials import Credentials
from app.cloudagent.request import DispositionCall, Endpoint
from app.domain.callback_time import CallbackFormat
from app.domain.errors import ConfigurationError
from app.domain.replies import Answer, Certainty, NoAnswer, Outcome, Remedy, Verdict, classify
from app.domain.retry import RetryPolicy, Situation, decide
from app.secrets import Cipher
from app.services.group_commit import GroupCommit
from app.storage import accounts, attempts, calls, events
from app.storage.attempts import Finish
from app.storage.calls import Claim, Delivery
from app.storage.engine import DATABASE_TROUBLE

log = structlog.get_logger(__name__)

_PAUSE_AFTER_TROUBLE = 0.5  # seconds, before the database is asked again


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """What delivering depends on. ``call_deadline`` and ``start_within`` are in seconds.

    A call that does not start within ``start_within`` of its claim is not made, and its deadline counts from there
    at the latest: together with the watchdog they are as long as the lease, so that nothing is sent when it is out.
    """

    in_flight: int
    call_deadline: float
    start_within: float
    lease: timedelta
    retry: RetryPolicy
    pause_limit: timedelta


@dataclass(frozen=True, slots=True)
class _Ended:
    """A call that has ended, on its way into the record."""

    delivery: Delivery
    verdict: Verdict
    notes: Sequence[str]


class Pump:
    """Delivers what is due until there is nothing more. Belongs to one event loop."""

    def __init__(
        self,
        engine: AsyncEngine,
        client: CloudAgentClient,
        cipher: Cipher,
        bell: Bell,
        settings: DeliverySettings,
        *,
        name: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._engine = engine
        self._client = client
        self._cipher = cipher
        self._bell = bell
        self._settings = settings
        self._name = name
        self._jitter = jitter
        self._in_flight: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._stopping = False
        self._record: GroupCommit[_Ended, None] = GroupCommit(self._record_group)

    def wake(self) -> None:
        """Says that something may be due. From the pump's own loop; cheap, and as often as you like."""
        self._woken.set()

    def stop(self) -> None:
        """Says that nothing more is to be claimed. ``run`` returns when the calls in flight are recorded."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Delivers, until ``stop``."""
        while not self._stopping:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._fill()
            except (SQLAlchemyError, OSError) as error:
                # Whatever the database says: a pump that ended here would leave a worker that only seems to work.
                log.warning("can't claim, trying again", error=type(error).__name__)
                await asyncio.sleep(_PAUSE_AFTER_TROUBLE)
                self._woken.set()
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    async def _fill(self) -> None:
        """Claims until all slots are taken or nothing is left to claim."""
        more = False
        while not self._stopping and (room := self._settings.in_flight - len(self._in_flight)) > 0:
            start_by = time.monotonic() + self._settings.start_within
            claim = await self._claim(room)
            for delivery in claim.deliveries:
                task = asyncio.create_task(self._deliver(delivery, start_by))
                self._in_flight.add(task)
                task.add_done_callback(self._ended)
            more = claim.more
            if not more:
                return
        if more:
            self._bell.ring()  # all hands full here; perhaps a sibling has a free one

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        # There is room again, here and in the account; and in its call something newer may have come meanwhile.
        self._woken.set()
        if not task.cancelled() and (error := task.exception()):
            # The attempt stays open; when its lease is out it is recorded as of unknown outcome, and repeated.
            log.error("a delivery broke", exc_info=error)

    # The verbs of one delivery.

    async def _claim(self, room: int) -> Claim:
        async with self._engine.begin() as connection:
            return await calls.claim(connection, room=room, lease=self._settings.lease, worker=self._name)

    async def _deliver(self, delivery: Delivery, start_by: float) -> None:
        notes: list[str] = []
        verdict = await self._call(delivery, start_by, notes)
        log.info(
            "attempt ended",
            disposition=str(delivery.disposition_id),
            account=delivery.customer,
            attempt=delivery.attempt_number,
            outcome=verdict.outcome.value,
            http_status=verdict.http_status,
            latency_ms=verdict.latency_ms,
        )
        await self._record.submit(_Ended(delivery, verdict, notes))

    async def _call(self, delivery: Delivery, start_by: float, notes: list[str]) -> Verdict:
        """The one call of this attempt. Whatever goes wrong is its outcome: an attempt that is made is recorded."""
        if time.monotonic() > start_by:
            late = "the worker was too slow to start the call within its lease"
            return classify(NoAnswer(Certainty.NOT_SENT, late))
        try:
            credentials = Credentials(self._cipher.decrypt(delivery.api_key))
        except ConfigurationError as error:
            # No repeat helps and no try is to be spent: the account waits for a person, as for a wrong key.
            return Verdict(Outcome.MISCONFIGURED, Certainty.NOT_SENT, 0, reply_details=str(error))
        try:
            return classify(await self._ask(delivery, credentials, start_by, notes))
        except Exception as error:
            log.exception("a call broke", disposition=str(delivery.disposition_id), account=delivery.customer)
            broken = f"an error of Wrapup's own, see its log: {type(error).__name__}"
            return classify(NoAnswer(Certainty.SENT_UNKNOWN, broken))

    async def _ask(
        self, delivery: Delivery, credentials: Credentials, start_by: float, notes: list[str]
    ) -> Answer | NoAnswer:
        """Asks CloudAgent for the disposition. Never raises for what CloudAgent or the network does."""
        pause = delivery.pause_after_dispose
        if pause and delivery.started_at - delivery.created_at > self._settings.pause_limit:
            pause = False  # it would pause the agent in the middle of other work
            notes.append("pause_after_dispose left out: too long after acceptance")
        form = CallbackFormat(delivery.callback_format or delivery.account_format)
        if delivery.callback_format is not None:
            notes.append(f"callback_time written as {form}, the other format")
        return await self._client.dispose(
            Endpoint(delivery.base_url, delivery.api, delivery.path),
            credentials,
            DispositionCall(
                customer=delivery.customer,
                ucid=delivery.ucid,
                did=delivery.did,
                agent_id=delivery.agent_id,
                disposition=delivery.disposition,
                request_id=str(delivery.attempt_id),
                comments=delivery.comments,
                callback_time=delivery.callback_time,
                callback_time_zone=delivery.callback_time_zone,
                callback_format=form,
                pause_after_dispose=pause,
                pause_reason=delivery.pause_reason,
            ),
            deadline=self._settings.call_deadline,
            start_by=start_by,
        )

    async def _record_group(self, ended: Sequence[_Ended]) -> Sequence[None]:
        """Records a group in one transaction, trying until the database takes it.

        Trying again is safe, also after a COMMIT without an answer: what is recorded has given its lease back, and
        comes out as late, which changes nothing.
        """
        while True:
            try:
                async with self._engine.begin() as connection:
                    await self._record_in(connection, ended)
                return [None] * len(ended)
            except DATABASE_TROUBLE as error:
                log.warning("can't record, trying again", attempts=len(ended), error=type(error).__name__)
                await asyncio.sleep(_PAUSE_AFTER_TROUBLE)

    async def _record_in(self, connection: AsyncConnection, ended: Sequence[_Ended]) -> None:
        current, now = await calls.lock_current(
            connection, [(one.delivery.call_id, one.delivery.epoch) for one in ended]
        )
        assert now is not None
        in_time = [one for one in ended if (one.delivery.call_id, one.delivery.epoch) in current]
        late = [one for one in ended if (one.delivery.call_id, one.delivery.epoch) not in current]
        if in_time:
            in_time = await self._confirm(connection, in_time)
            finishes = [self._finish(one, now) for one in in_time]
            await attempts.finish(connection, finishes, worker=self._name)
            await self._learn(connection, in_time)
        if late:
            log.warning("finished after the lease was out", attempts=[str(one.delivery.attempt_id) for one in late])
            await attempts.note_late(connection, [(one.delivery.attempt_id, one.verdict, now) for one in late])

    async def _confirm(self, connection: AsyncConnection, ended: Sequence[_Ended]) -> list[_Ended]:
        """Makes a delivery of "already disposed" where an earlier attempt of the same disposition did that."""
        refused = [one.delivery.disposition_id for one in ended if one.verdict.outcome is Outcome.ALREADY_DISPOSED]
        landed = await attempts.landed_before(connection, refused) if refused else ()
        return [
            replace(one, verdict=replace(one.verdict, outcome=Outcome.CONFIRMED_BY_CONFLICT))
            if one.delivery.disposition_id in landed
            else one
            for one in ended
        ]

    def _finish(self, ended: _Ended, now: datetime) -> Finish:
        delivery = ended.delivery
        situation = Situation(
            tries=delivery.tries,
            now=now,
            expires_at=delivery.expires_at,
            jitter=self._jitter(),
            other_format_left=_has_another_format(delivery),
        )
        decision = decide(ended.verdict, situation, self._settings.retry)
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

    async def _learn(self, connection: AsyncConnection, ended: Sequence[_Ended]) -> None:
        """What attempts showed about their accounts: each account once, in one order for everybody's locks."""
        refusals: dict[int, _Ended] = {}
        formats: dict[int, str] = {}
        for one in sorted(ended, key=lambda one: one.delivery.account_revision):  # the newest settings have the word
            delivery = one.delivery
            if one.verdict.remedy is Remedy.FIX_ACCOUNT:
                refusals[delivery.account_id] = one
            if one.verdict.delivered and delivery.callback_format not in (None, delivery.account_format):
                formats[delivery.account_id] = delivery.callback_format
        for account_id in sorted({*refusals, *formats}):
            if account_id in refusals:
                await self._hold(connection, refusals[account_id].delivery, refusals[account_id].verdict)
            if account_id in formats:
                await accounts.remember_format(connection, account_id, formats[account_id])

    async def _hold(self, connection: AsyncConnection, delivery: Delivery, verdict: Verdict) -> None:
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
                actor=self._name,
                action="account held",
                subject=f"account:{customer}",
                account_id=delivery.account_id,
                reason=f"{verdict.outcome}: {reason}",
            )


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
        await attempts.finish(connection, finishes, worker=name)
    log.warning("attempts of lost workers", attempts=len(abandoned))
    return len(abandoned)
