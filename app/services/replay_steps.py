"""Steps of replays: what the scheduler does with the items, a chunk at a time. Any number of schedulers may do it.

A step is one transaction under the lock of the replay's row: what is done to the dispositions, what is written of the
items and how many are left are committed together or not at all. Whoever dies in the middle has done nothing, and the
next one begins where the last commit ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row, func
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.broker import Bell
from app.domain.corrections import corrected, mapped
from app.domain.disposition import parse_disposition
from app.domain.errors import InvalidInput
from app.domain.replays import Action, Order, ReplayState, Result, Why, must_stop
from app.services.actions import correction
from app.services.failures import reopen_left
from app.services.replays import effect, tell_of
from app.storage import actions, dispositions, events
from app.storage import replays as rows
from app.storage.dispositions import Arrival
from app.storage.engine import DATABASE_TROUBLE
from app.storage.replays import Done

log = structlog.get_logger(__name__)

_CHUNK = 200  # items at most; a chunk is about one second's worth
_NO_ROOM_SECONDS = 0.5  # until the lanes are looked at again that had no room
_BROKEN_SECONDS = 60.0  # until a step is tried again that broke by a fault of ours
_LOOKED_AT_EACH_SECOND = 1000  # items on their way: with more of them, what became of them is looked at less often
_LOOK_AT_LEAST, _LOOK_AT_MOST = 1.0, 60.0  # seconds


@dataclass(frozen=True, slots=True)
class _Replay:
    """A replay that this step holds the lock of."""

    row: Row[Any]
    order: Order
    reason: str  # for the events of its dispositions

    @property
    def id(self) -> UUID:
        """Its id."""
        identity: UUID = self.row.id
        return identity


class ReplaySteps:
    """Does the steps of all replays. Belongs to a scheduler."""

    def __init__(self, engine: AsyncEngine, bell: Bell, *, name: str) -> None:
        self._engine = engine
        self._bell = bell
        self._name = name

    async def step(self) -> bool:
        """One step of the replay whose turn it is; False if there is none."""
        row = None
        try:
            async with self._engine.begin() as connection:
                row = await rows.lock_due(connection)
                if row is None:
                    return False
                order = rows.order_of(row, row.reason)
                replay = _Replay(row, order, f"replay {row.id}" + (f": {row.reason}" if row.reason else ""))
                sent = await self._step(connection, replay)
        except DATABASE_TROUBLE:
            raise
        except Exception:
            if row is None:
                raise
            log.exception("a step of a replay broke", replay=str(row.id))
            async with self._engine.begin() as connection:  # lest it stands in the way of the others
                await rows.put_off(connection, row.id, seconds=_BROKEN_SECONDS)
            return True
        if sent:
            self._bell.ring()
        return True

    async def _step(self, connection: AsyncConnection, replay: _Replay) -> bool:
        sent = 0
        row = replay.row
        if row.look_due:
            row = await self._look(connection, replay)
        if row.state == ReplayState.RUNNING and row.waiting and replay.row.chunk_due:
            row, sent = await self._chunk(connection, replay)
        if row.state == ReplayState.RUNNING and not row.waiting:
            row = await self._end(connection, row, ReplayState.DONE)
        if row.state != ReplayState.RUNNING and not row.sent:
            await self._settled(connection, row)
        return sent > 0

    async def _look(self, connection: AsyncConnection, replay: _Replay) -> Row[Any]:
        """What has become of what was sent, and whether that is a reason to stop."""
        ended = await rows.settle(connection, replay.id)
        left = replay.row.sent - sum(ended.values())
        pause = min(max(left / _LOOKED_AT_EACH_SECOND, _LOOK_AT_LEAST), _LOOK_AT_MOST)
        row = await rows.move(connection, replay.id, Result.SENT, ended, look_at=rows.in_seconds(pause))
        order = replay.order
        if row.state == ReplayState.RUNNING and must_stop(
            delivered=row.delivered, failed=row.failed, stop_share=order.stop_share, stop_after=order.stop_after
        ):
            log.warning("replay stopped: too many fail again", replay=str(replay.id), failed=row.failed)
            return await self._end(connection, row, ReplayState.STOPPED)
        return row

    async def _chunk(self, connection: AsyncConnection, replay: _Replay) -> tuple[Row[Any], int]:
        """About a second's worth of items; gives how many were sent. Taking back calls nobody, and needs no pace."""
        order = replay.order
        sends = order.action is not Action.CANCEL
        size = min(max(1, round(order.rate_per_second)), _CHUNK) if sends else _CHUNK
        taken = await rows.take(connection, replay.row, n=size, unbounded=not sends)
        if not taken:
            again = rows.in_seconds(_NO_ROOM_SECONDS)
            return await rows.change(connection, replay.id, {"next_at": again}), 0
        why = await rows.judge(connection, order, list(taken))
        fit = [one for one in taken if one in why and why[one] is None]
        done = {one: Done(taken[one], Result.SKIPPED, why.get(one, Why.GONE)) for one in taken if one not in fit}
        done |= await self._act(connection, replay, taken, fit)
        await rows.record(connection, replay.id, list(done.values()))
        results = Counter(one.result for one in done.values())
        paced = rows.paced(results[Result.SENT], order.rate_per_second)
        return await rows.move(connection, replay.id, Result.WAITING, results, next_at=paced), results[Result.SENT]

    async def _act(
        self, connection: AsyncConnection, replay: _Replay, taken: dict[UUID, int], fit: Sequence[UUID]
    ) -> dict[UUID, Done]:
        """Does it to those that can be done, whose calls are locked."""
        actor = replay.row.actor
        match replay.order.action:
            case Action.RETRY:
                moved = await actions.send_again(
                    connection,
                    fit,
                    actor=actor,
                    reason=replay.reason,
                    replay_id=replay.id,
                    renew=replay.order.extend_max_age,
                )
                return {one: Done(taken[one], Result.SENT, sent_id=one) for one in moved}
            case Action.CANCEL:
                moved = await actions.cancel(connection, fit, actor=actor, reason=replay.reason)
                return {one: Done(taken[one], Result.CANCELLED) for one in moved}
            case Action.RESEND:
                return await self._resend(connection, replay, taken, fit)

    async def _resend(
        self, connection: AsyncConnection, replay: _Replay, taken: dict[UUID, int], fit: Sequence[UUID]
    ) -> dict[UUID, Done]:
        done: dict[UUID, Done] = {}
        arrivals: list[Arrival] = []
        for row in await dispositions.read(connection, fit):
            was = dict(row._mapping)
            try:
                new = parse_disposition(corrected(was, mapped(was, replay.order.map)))
            except InvalidInput as error:
                # What is wrong, and not with which value: items are shown to everybody who may see the replay.
                fields = ", ".join(fault.field for fault in error.faults)
                done[row.id] = Done(taken[row.id], Result.SKIPPED, f"{Why.INVALID}: {fields}")
                continue
            arrivals.append(correction(row, new, actor=replay.row.actor, replay_id=replay.id))
        if arrivals:
            await dispositions.store(connection, arrivals, window=timedelta(0))
            resent = {one.resent_from: one.id for one in arrivals if one.resent_from is not None}
            await actions.tell_resent(connection, resent, actor=replay.row.actor, reason=replay.reason)
            done |= {old: Done(taken[old], Result.SENT, sent_id=new) for old, new in resent.items()}
        return done

    async def _end(self, connection: AsyncConnection, row: Row[Any], state: ReplayState) -> Row[Any]:
        await events.tell(connection, **tell_of(row, self._name, f"replay {state}", effect(row)))
        await reopen_left(connection, row, self._name)
        ended = {"state": state, "ended_at": func.clock_timestamp(), "look_at": func.clock_timestamp()}
        return await rows.change(connection, row.id, ended)

    async def _settled(self, connection: AsyncConnection, row: Row[Any]) -> None:
        await rows.change(connection, row.id, {"settled_at": func.clock_timestamp()})
        await events.tell(connection, **tell_of(row, self._name, "replay settled", effect(row)))
