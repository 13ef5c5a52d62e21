"""Delivery: claim, call, classify, record.

The pump keeps calls to CloudAgent in flight and claims more as they end; nothing waits for the slowest. Each attempt
is committed before its call, and its end is recorded only by who still holds the call's lease.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.broker import Bell
from app.cloudagent.client import FLAVOURS, CloudAgentClient
from app.cloudagent.credentials import Credentials
from app.cloudagent.request import DispositionCall, Endpoint
from app.domain.callback_time import CallbackFormat, LateCallback, has_passed
from app.domain.errors import ConfigurationError
from app.domain.lane import LanePolicy
from app.domain.replies import Answer, Certainty, NoAnswer, Outcome, Verdict, classify
from app.domain.retry import RetryPolicy
from app.secrets import Cipher
from app.services.attempts import Ended, Record
from app.services.slots import Offer, Slots
from app.services.tokens import Holder, Tokens
from app.storage import calls
from app.storage.calls import Claim, Delivery

log = structlog.get_logger(__name__)

_PAUSE_AFTER_TROUBLE = 0.5  # seconds, before the database is asked again
_GATHERING = 0.02  # seconds at most in which slots become free, while few are
_SHORTEST_NAP = 0.05  # seconds: what a quick pace lets through is claimed in groups, not each call by itself


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
    lane: LanePolicy
    pause_limit: timedelta


class Pump:
    """Delivers what is due until there is nothing more. Belongs to one event loop."""

    def __init__(
        self,
        engine: AsyncEngine,
        client: CloudAgentClient,
        tokens: Tokens,
        cipher: Cipher,
        bell: Bell,
        settings: DeliverySettings,
        *,
        name: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._engine = engine
        self._client = client
        self._tokens = tokens
        self._cipher = cipher
        self._bell = bell
        self._settings = settings
        self._name = name
        self._record = Record(engine, settings.retry, settings.lane, name=name, jitter=jitter)
        self._slots = Slots(settings.in_flight)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._freed = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._stopping = False
        self.ended = 0
        """Attempts that were brought to their end here."""

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
        self._wake_in(None)
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    async def _fill(self) -> None:
        """Claims until all slots are taken or nothing is left to claim."""
        unsatisfied: frozenset[int] | None = None  # not known yet
        while not self._stopping:
            await self._gather()
            if self._behind or (offer := self._slots.offer(unsatisfied)) is None:
                break
            start_by = time.monotonic() + self._settings.start_within
            claim = await self._claim(offer)
            for delivery in claim.deliveries:
                self._slots.take(delivery.account_id)
                task = asyncio.create_task(self._deliver(delivery, start_by))
                self._in_flight.add(task)
                task.add_done_callback(self._ended)
            self._wake_in(claim.opens_in)
            unsatisfied = claim.full
            if not unsatisfied:
                return
        if unsatisfied:
            self._bell.ring()  # all hands full here; perhaps a sibling has a free one

    @property
    def _behind(self) -> bool:
        """True while as many calls wait to be recorded as may be in flight: the database is slower than CloudAgent."""
        return len(self._in_flight) - self._slots.taken >= self._settings.in_flight

    async def _gather(self) -> None:
        """Waits a moment while few slots are free: a claim takes nearly as long for one call as for twenty."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GATHERING):
                while self._slots.scarce and not self._stopping:
                    self._freed.clear()
                    await self._freed.wait()

    def _wake_in(self, seconds: float | None) -> None:
        """Looks again when a lane opens that waits for nothing but the clock."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        if seconds is not None and not self._stopping:
            self._alarm = asyncio.get_running_loop().call_later(max(seconds, _SHORTEST_NAP), self.wake)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self.ended += 1
        # There is room again in the account; and in its call something newer may have come meanwhile.
        self._woken.set()
        if not task.cancelled() and (error := task.exception()):
            # The attempt stays open; when its lease is out it is recorded as of unknown outcome, and repeated.
            log.error("a delivery broke", exc_info=error)

    # The verbs of one delivery.

    async def _claim(self, offer: Offer) -> Claim:
        async with self._engine.begin() as connection:
            return await calls.claim(
                connection,
                room=offer.room,
                most=offer.most,
                under_way=offer.under_way,
                lease=self._settings.lease,
                worker=self._name,
            )

    async def _deliver(self, delivery: Delivery, start_by: float) -> None:
        answered = False
        try:
            ended = await self._call(delivery, start_by)
            verdict = ended.verdict
            if answered := verdict.certainty is Certainty.ANSWERED:
                self._free(delivery)  # another call may be made while this one is being recorded
            log.info(
                "attempt ended",
                disposition=str(delivery.disposition_id),
                account=delivery.customer,
                attempt=delivery.attempt_number,
                outcome=verdict.outcome.value,
                http_status=verdict.http_status,
                latency_ms=verdict.latency_ms,
            )
            await self._record.add(ended)
        finally:
            if not answered:
                # Not before it is on record: by then its account may be in doubt, and no others follow it.
                self._free(delivery)

    def _free(self, delivery: Delivery) -> None:
        self._slots.give_back(delivery.account_id)
        self._freed.set()
        self._woken.set()

    async def _call(self, delivery: Delivery, start_by: float) -> Ended:
        """The one call of this attempt. Whatever goes wrong is its outcome: an attempt that is made is recorded."""
        if time.monotonic() > start_by:
            late = "the worker was too slow to start the call within its lease"
            return Ended(delivery, classify(NoAnswer(Certainty.NOT_SENT, late)), made=False)
        notes: list[str] = []
        try:
            credentials = Credentials(self._cipher.decrypt(delivery.api_key))
            if _is_for_review(delivery, notes):
                held_back = "the call-back time has passed; nothing was sent, and `retry` sends it all the same"
                verdict = Verdict(Outcome.CALLBACK_PASSED, Certainty.NOT_SENT, 0, reply_details=held_back)
                return Ended(delivery, verdict, made=False)
            return Ended(delivery, await self._verdict(delivery, credentials, start_by, notes), notes)
        except ConfigurationError as error:
            # No repeat helps and no try is to be spent: the account waits for a person, as for a wrong key.
            return Ended(delivery, Verdict(Outcome.MISCONFIGURED, Certainty.NOT_SENT, 0, reply_details=str(error)))
        except Exception as error:
            log.exception("a call broke", disposition=str(delivery.disposition_id), account=delivery.customer)
            broken = f"an error of Wrapup's own, see its log: {type(error).__name__}"
            return Ended(delivery, classify(NoAnswer(Certainty.SENT_UNKNOWN, broken)), notes)

    async def _verdict(
        self, delivery: Delivery, credentials: Credentials, start_by: float, notes: list[str]
    ) -> Verdict:
        """What the call came to. Getting a token, where one is needed, is a part of it: both have its one deadline."""
        if not FLAVOURS[delivery.api].needs_token:
            return classify(await self._ask(delivery, credentials, start_by, notes))
        start_by = min(start_by, time.monotonic())
        endpoint = Endpoint(delivery.base_url, delivery.api, delivery.path)
        holder = Holder(delivery.account_id, delivery.customer, endpoint, credentials)
        deadline = self._settings.call_deadline
        token = await self._tokens.get(holder, within=deadline, anew=delivery.after_token_expired)
        if isinstance(token, Verdict):
            return token
        credentials = replace(credentials, token=token.secret)
        return await self._tokens.judge(
            holder, token, classify(await self._ask(delivery, credentials, start_by, notes))
        )

    async def _ask(
        self, delivery: Delivery, credentials: Credentials, start_by: float, notes: list[str]
    ) -> Answer | NoAnswer:
        """Asks CloudAgent for the disposition. Never raises for what CloudAgent or the network does."""
        if delivery.after_unknown:
            notes.append("an older disposition of this call, of unknown outcome, may reach CloudAgent after this one")
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


def _is_for_review(delivery: Delivery, notes: list[str]) -> bool:
    """True if a person is to look at it before it is sent. That its call-back time has passed is noted anyway."""
    if delivery.callback_time is None or not has_passed(
        delivery.callback_time, delivery.callback_time_zone, delivery.started_at
    ):
        return False
    notes.append("callback_time has passed")
    return delivery.late_callback == LateCallback.REVIEW and not delivery.reviewed
