"""Replays: planned, frozen, started, cancelled, looked at. What is done with their items is in ``replay_steps.py``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuids
from sqlalchemy import Row, func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.errors import Fault, InvalidInput, KeyReused, NotFound, StateConflict
from app.domain.replays import Order, ReplayState, Result, Why, needs_reason, parse_order, truth
from app.services.failures import reopen_left
from app.services.keys import Caller
from app.storage import events
from app.storage import replays as rows
from app.storage.replays import Kind, NewReplay

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request for a replay. ``print`` is the same for the same request, whenever it comes.

    ``dry_run``: it is only to be told what would be done. Without ``start`` it is frozen, and waits for its start.
    """

    order: Order
    print: bytes
    dry_run: bool = False
    start: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay would do. ``left_out``: by why."""

    eligible: int
    left_out: Mapping[str, int]
    samples: Mapping[str, Sequence[UUID]]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A replay that was made, or one that the same key has made before."""

    replay: Row[Any]
    duplicate: bool


def read_request(fields: Mapping[str, object], caller: Caller) -> Request:
    """The request that a JSON object makes, its times frozen now; raises ``InvalidInput`` with every fault."""
    faults: list[Fault] = []
    switches: dict[str, bool] = {}
    for name in ("dry_run", "start"):
        if fields.get(name) is not None:
            try:
                switches[name] = truth(name, fields[name])
            except InvalidInput as refused:
                faults += refused.faults
    rest = {name: value for name, value in fields.items() if name not in ("dry_run", "start")}
    try:
        order = parse_order(rest, datetime.now(UTC), only_accounts=caller.accounts)
    except InvalidInput as refused:
        raise InvalidInput([*faults, *refused.faults]) from None
    if faults:
        raise InvalidInput(faults)
    said = json.dumps(fields, sort_keys=True)
    return Request(order, blake2b(said.encode(), digest_size=16).digest(), **switches)


class Replays:
    """Makes replays and shows how they go. The scheduler does the rest."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def plan(self, order: Order) -> Plan:
        """What a replay would do now. Nothing is written."""
        async with self._engine.connect() as connection:
            kinds = await rows.plan(connection, order)
        return _plan(kinds, order)

    async def create(self, request: Request, caller: Caller, *, idempotency_key: str | None = None) -> Receipt:
        """Freezes the items of a replay. It starts at once, unless the request says that it waits to be told.

        Raises ``InvalidInput`` if it needs a reason and has none, and ``KeyReused``.
        """
        if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
            fault = "The idempotency key must be 1 to 255 visible ASCII characters without spaces."
            raise InvalidInput([Fault("idempotency_key", fault)])
        state = ReplayState.RUNNING if request.start else ReplayState.DRAFT
        new = NewReplay(uuids.uuid7(), request.order, caller.actor, state, idempotency_key, request.print)
        try:
            async with self._engine.begin() as connection:
                if (earlier := await self._earlier(connection, new)) is not None:
                    return Receipt(earlier, duplicate=True)
                return Receipt(await make(connection, new), duplicate=False)
        except IntegrityError:  # the same key, at the same moment
            async with self._engine.connect() as connection:
                earlier = await self._earlier(connection, new)
        assert earlier is not None
        return Receipt(earlier, duplicate=True)

    async def start(self, replay_id: UUID, caller: Caller, *, reason: str | None = None) -> Row[Any]:
        """Starts a draft: what is done is what was frozen. Raises ``NotFound``, ``StateConflict``, ``InvalidInput``."""
        async with self._engine.begin() as connection:
            replay = await self._lock(connection, replay_id, caller)
            if replay.state != ReplayState.DRAFT:
                raise StateConflict(f"Replay {replay_id} is {replay.state}. Only a draft can be started.")
            reason = reason or replay.reason
            _check_reason(rows.order_of(replay, reason), replay.total)
            await events.tell(connection, **_event("replay started", replay, caller.actor, reason))
            running = {"state": ReplayState.RUNNING, "reason": reason, "started_at": func.clock_timestamp()}
            return await rows.change(connection, replay_id, running | {"next_at": func.clock_timestamp()})

    async def cancel(self, replay_id: UUID, caller: Caller, *, reason: str | None = None) -> Row[Any]:
        """Ends a replay; what it has sent is sent. Raises ``NotFound``, and ``StateConflict`` if it has ended."""
        async with self._engine.begin() as connection:
            replay = await self._lock(connection, replay_id, caller)
            if replay.state not in (ReplayState.DRAFT, ReplayState.RUNNING):
                raise StateConflict(
                    f"Replay {replay_id} is {replay.state}. Only one that has not ended can be cancelled."
                )
            await events.tell(connection, **_event("replay cancelled", replay, caller.actor, reason))
            await reopen_left(connection, replay, caller.actor)
            ended = {"state": ReplayState.CANCELLED, "ended_at": func.clock_timestamp()}
            return await rows.change(connection, replay_id, ended | {"look_at": func.clock_timestamp()})

    async def get(self, replay_id: UUID, caller: Caller) -> Row[Any]:
        """One replay; raises ``NotFound`` also for one that is not the caller's."""
        async with self._engine.connect() as connection:
            return _own(await rows.read(connection, replay_id), replay_id, caller)

    async def items(
        self, replay_id: UUID, *, results: Sequence[Result] = (), after: int = 0, limit: int = 100
    ) -> tuple[Sequence[Row[Any]], int | None]:
        """A page of a replay's items in their order, and the position after which the next one begins."""
        async with self._engine.connect() as connection:
            found = await rows.items(connection, replay_id, results=results, after=after, limit=limit + 1)
        return found[:limit], found[limit - 1].position if len(found) > limit else None

    async def page(
        self, caller: Caller, *, after: UUID | None = None, limit: int = 100
    ) -> tuple[Sequence[Row[Any]], UUID | None]:
        """A page of the caller's replays, newest first, and where the next one begins."""
        async with self._engine.connect() as connection:
            found = await rows.page(connection, caller.accounts, after=after, limit=limit + 1)
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    async def effects(self, replay_ids: Sequence[UUID]) -> dict[UUID, str]:
        """How the items of each of these replays stand, in words. One that was deleted meanwhile has none."""
        async with self._engine.connect() as connection:
            found = await rows.read_all(connection, replay_ids)
        return {replay.id: effect(replay) for replay in found}

    async def _earlier(self, connection: AsyncConnection, new: NewReplay) -> Row[Any] | None:
        """What the key has made before; raises ``KeyReused`` if that was asked for with other words."""
        if new.key is None:
            return None
        earlier = await rows.find_key(connection, new.actor, new.key)
        if earlier is not None and earlier.print != new.print:
            raise KeyReused(f"The Idempotency-Key was used for another replay, {earlier.id}. Send a new one.")
        return earlier

    async def _lock(self, connection: AsyncConnection, replay_id: UUID, caller: Caller) -> Row[Any]:
        return _own(await rows.lock(connection, replay_id), replay_id, caller)


async def make(connection: AsyncConnection, new: NewReplay) -> Row[Any]:
    """Freezes a replay in the caller's transaction; raises ``InvalidInput`` if it starts without a reason it needs."""
    await rows.create(connection, new)
    replay = await rows.read(connection, new.id)
    assert replay is not None
    if new.state is ReplayState.RUNNING:
        _check_reason(new.order, replay.total)
        await events.tell(connection, **_event("replay started", replay, new.actor, new.order.reason))
    else:
        await events.tell(connection, **_event("replay drafted", replay, new.actor, new.order.reason))
    return replay


def summary(replay: Row[Any]) -> dict[str, Any]:
    """A replay as it is shown. ``waiting`` to ``cancelled`` count its items; together they are ``total``."""
    shown = ("id", "action", "state", "actor", "reason", "filter", "map", "rate_per_second", "max_items")
    more = ("extend_max_age", "stop_share", "stop_after", "left_out", "total", *(result.value for result in Result))
    times = ("created_at", "started_at", "ended_at", "settled_at", "schedule_id")
    return {name: getattr(replay, name) for name in (*shown, *more, *times)}


def effect(replay: Row[Any]) -> str:
    """How a replay's items stand, in words: "60 items: 58 delivered, 2 failed"."""
    counts = {result.value: getattr(replay, result.value) for result in Result}
    parts = [f"{n} {name}" for name, n in counts.items() if n]
    return f"{replay.total} items" + (f": {', '.join(parts)}" if parts else "")


def tell_of(replay: Row[Any], actor: str, action: str, reason: str | None) -> dict[str, Any]:
    """The line of the audit trail about a replay, for ``events.tell``."""
    return {
        "actor": actor,
        "action": action,
        "subject": f"replay:{replay.id}",
        "account_id": replay.account_ids[0] if len(replay.account_ids) == 1 else None,
        "reason": reason,
    }


def _event(action: str, replay: Row[Any], actor: str, reason: str | None) -> dict[str, Any]:
    what = f"{replay.action}, {effect(replay)}, of {json.dumps(replay.filter)}"
    return tell_of(replay, actor, action, what if reason is None else f"{what}: {reason}")


def _own(replay: Row[Any] | None, replay_id: UUID, caller: Caller) -> Row[Any]:
    if replay is None or not caller.covers(replay.accounts):
        raise NotFound(f"There is no replay {replay_id}.")
    return replay


def _check_reason(order: Order, items: int) -> None:
    if not order.reason and needs_reason(order.action, items):
        fault = f"reason is missing: say why {items} dispositions are to be changed; it is kept in the audit trail."
        raise InvalidInput([Fault("reason", fault)])


def _plan(kinds: Sequence[Kind], order: Order) -> Plan:
    left_out = {kind.why: kind.n for kind in kinds if kind.why is not None}
    matched = sum(kind.n for kind in kinds if kind.why is None)
    eligible = min(matched, order.max_items)
    if matched > eligible:
        left_out[Why.OVER_LIMIT.value] = matched - eligible  # JSON takes no member of an enum for a name
    return Plan(eligible, left_out, {kind.why or "eligible": kind.samples for kind in kinds})
