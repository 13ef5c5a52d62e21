"""Schedules: made, changed, looked at, run by hand. When they are due, ``schedule_runs.py`` runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuids
from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.durations import write_duration
from app.domain.errors import Fault, InvalidInput, NotFound, StateConflict
from app.domain.refusals import quoted
from app.domain.replays import ReplayState, parse_order
from app.domain.schedules import MOST_BACKFILLED, Overlap, Plan, RunState, parse_schedule
from app.services.keys import Caller
from app.services.replays import make
from app.storage import events, reports
from app.storage import schedules as rows
from app.storage.replays import NewReplay

_SHOWN_TIMES = 5
_SHOWN_RUNS = 50
_OF_RUN = ("due_at", "kind", "state", "n", "note", "replay_id", "at")


class Schedules:
    """Makes and changes schedules, and shows what they did and will do."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create(self, fields: Mapping[str, object], caller: Caller) -> dict[str, Any]:
        """Makes a schedule; raises ``InvalidInput`` with every fault, also for a name that is taken."""
        plan = parse_schedule(fields, datetime.now(UTC))
        try:
            async with self._engine.begin() as connection:
                now = await reports.database_time(connection)
                values = _columns(plan) | {"id": uuids.uuid7(), "accounts": sorted(caller.accounts), "created_at": now}
                values |= {"actor": caller.actor, "next_at": plan.recurrence(now).next(now)}
                values |= {"paused_at": now if plan.paused else None}
                row = await rows.create(connection, values)
                await _tell(connection, row, caller.actor, "schedule created", plan.reason)
                return _shown(row, now)
        except IntegrityError:
            fault = f"name {plan.name!r} is taken: choose another, or change that schedule."
            raise InvalidInput([Fault("name", fault)]) from None

    async def change(self, name: str, fields: Mapping[str, object], caller: Caller) -> dict[str, Any]:
        """Changes a schedule, pauses it, or lets it go on. What came due while it was paused is not made up for."""
        async with self._engine.begin() as connection:
            row = await _lock(connection, name, caller)
            if fields.get("name") not in (None, name):
                raise InvalidInput(
                    [Fault("name", "name can't be changed: make another schedule, and delete this one.")]
                )
            was = plan_of(row)
            now = await reports.database_time(connection)
            plan = parse_schedule(fields, now, was)
            values = _columns(plan) | {"updated_at": now}
            if (plan.cron, plan.every, plan.time_zone, plan.paused) != (was.cron, was.every, was.time_zone, was.paused):
                values |= {"next_at": plan.recurrence(row.created_at).next(now)}
            if plan.paused != was.paused:
                values |= {"paused_at": now if plan.paused else None}
            changed = await rows.change(connection, row.id, values)
            await _tell(connection, changed, caller.actor, _what(was, plan), plan.reason)
            return _shown(changed, now)

    async def remove(self, name: str, caller: Caller, *, reason: str | None = None) -> None:
        """Deletes a schedule with the history of its runs. The replays that it made stay, and go on."""
        async with self._engine.begin() as connection:
            row = await _lock(connection, name, caller)
            await rows.remove(connection, row.id)
            await _tell(connection, row, caller.actor, "schedule deleted", reason)

    async def run(self, name: str, caller: Caller, *, reason: str | None = None) -> dict[str, Any]:
        """Runs a schedule now, paused or not; raises ``StateConflict`` while one is sending, if it does not queue."""
        async with self._engine.begin() as connection:
            row = await _lock(connection, name, caller)
            now = await reports.database_time(connection)
            earlier = await rows.sending(connection, row.id)
            if earlier is not None and row.overlap == Overlap.SKIP:
                raise StateConflict(
                    f"Replay {earlier} of the schedule {quoted(name)} is still sending. Cancel it first."
                )
            await _tell(connection, row, caller.actor, "schedule run by hand", reason)
            if earlier is None:
                await start(connection, row, now, kind="now")
            else:
                await rows.add_run(connection, row.id, now, RunState.QUEUED, kind="now")
            return await _whole(connection, row, now)

    async def backfill(
        self, name: str, since: datetime, until: datetime, caller: Caller, *, reason: str | None = None
    ) -> dict[str, Any]:
        """Queues a run for each time of a schedule from ``since`` to before ``until``, one after the other.

        Each sees the world of its own time: ``24h`` is a day before that. Raises ``InvalidInput`` for too many and for
        none, and ``StateConflict`` if all of them were backfilled before.
        """
        async with self._engine.begin() as connection:
            row = await _lock(connection, name, caller)
            now = await reports.database_time(connection)
            if not since < until <= now:
                raise InvalidInput(
                    [Fault("to", f"to, {until.isoformat()}, must be after from, and not in the future.")]
                )
            recurrence = plan_of(row).recurrence(row.created_at)
            times = list(islice(recurrence.after(since - timedelta(microseconds=1)), MOST_BACKFILLED + 1))
            times = [time for time in times if time < until]
            if len(times) > MOST_BACKFILLED:
                fault = f"from to to has more than {MOST_BACKFILLED} runs; fill a shorter time."
                raise InvalidInput([Fault("from", fault)])
            if not times:
                raise InvalidInput([Fault("from", "from to to has no time of the schedule; fill a longer time.")])
            added = [await rows.add_run(connection, row.id, time, RunState.QUEUED, kind="backfill") for time in times]
            if not any(added):
                raise StateConflict(
                    f"All runs of the schedule {quoted(name)} in that window have been backfilled before. "
                    "To do it once more, run it now."
                )
            what = f"{sum(added)} runs, from {since.isoformat()} to {until.isoformat()}"
            await _tell(connection, row, caller.actor, "schedule backfilled", f"{what}: {reason}" if reason else what)
            return await _whole(connection, row, now)

    async def get(self, name: str, caller: Caller) -> dict[str, Any]:
        """A schedule with the history of its runs; raises ``NotFound`` also for one that is not the caller's."""
        async with self._engine.connect() as connection:
            row = _own(await rows.read(connection, name), name, caller)
            return await _whole(connection, row, await reports.database_time(connection))

    async def all(self, caller: Caller) -> list[dict[str, Any]]:
        """The caller's schedules by name."""
        async with self._engine.connect() as connection:
            found = await rows.read_all(connection, caller.accounts)
            now = await reports.database_time(connection)
        return [_shown(row, now) for row in found]

    async def last_runs(self, caller: Caller) -> dict[str, dict[str, Any]]:
        """The last run of each of the caller's schedules, by name; ``missed``: how many of its history were."""
        async with self._engine.connect() as connection:
            names = {row.id: row.name for row in await rows.read_all(connection, caller.accounts)}
            found = await rows.last_runs(connection, list(names))
        return {names[run.schedule_id]: {name: getattr(run, name) for name in (*_OF_RUN, "missed")} for run in found}


def plan_of(row: Row[Any]) -> Plan:
    """A schedule as it was asked for."""
    return Plan(
        name=row.name,
        cron=row.cron,
        every=None if row.every_seconds is None else timedelta(seconds=row.every_seconds),
        time_zone=row.time_zone,
        replay=row.replay,
        overlap=Overlap(row.overlap),
        catch_up=timedelta(seconds=row.catch_up_seconds),
        paused=row.paused_at is not None,
    )


async def start(connection: AsyncConnection, row: Row[Any], due_at: datetime, *, kind: str) -> UUID | None:
    """Makes the replay of a run, in the transaction that holds the schedule; None if that time has had its run.

    What is asked for may not be taken any more, after an update: then the run is refused, and says so.
    """
    if not await rows.add_run(connection, row.id, due_at, RunState.STARTED, kind=kind):
        return None
    run = {"schedule_id": row.id, "due_at": due_at, "kind": kind}
    replay_id = uuids.uuid7()
    try:
        async with connection.begin_nested():
            order = parse_order(row.replay, due_at, only_accounts=frozenset(row.accounts))
            actor = f"schedule:{row.name}"
            await make(connection, NewReplay(replay_id, order, actor, ReplayState.RUNNING, schedule_id=row.id))
    except InvalidInput as error:
        await rows.end_run(connection, run, {"state": RunState.REFUSED, "note": str(error)})
        await _tell(connection, row, "scheduler", "schedule run refused", str(error))
        return None
    await rows.end_run(connection, run, {"replay_id": replay_id})
    return replay_id


async def _lock(connection: AsyncConnection, name: str, caller: Caller) -> Row[Any]:
    return _own(await rows.lock(connection, name), name, caller)


def _own(row: Row[Any] | None, name: str, caller: Caller) -> Row[Any]:
    if row is None or not caller.covers(row.accounts):
        raise NotFound(f"There is no schedule {quoted(name)}. `wrapup schedules list` shows those there are.")
    return row


def _columns(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "cron": plan.cron,
        "every_seconds": None if plan.every is None else int(plan.every.total_seconds()),
        "time_zone": plan.time_zone,
        "replay": plan.replay,
        "overlap": plan.overlap,
        "catch_up_seconds": int(plan.catch_up.total_seconds()),
    }


def _shown(row: Row[Any], now: datetime) -> dict[str, Any]:
    plan = plan_of(row)
    coming = islice(plan.recurrence(row.created_at).after(now), _SHOWN_TIMES)
    return {
        "name": plan.name,
        "cron": plan.cron,
        "every": None if plan.every is None else write_duration(plan.every),
        "time_zone": plan.time_zone,
        "replay": plan.replay,
        "overlap": plan.overlap,
        "catch_up": write_duration(plan.catch_up),
        "paused": plan.paused,
        "next_times": [] if plan.paused else list(coming),
        "actor": row.actor,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


async def _whole(connection: AsyncConnection, row: Row[Any], now: datetime) -> dict[str, Any]:
    found: Sequence[Row[Any]] = await rows.runs(connection, row.id, limit=_SHOWN_RUNS)
    return _shown(row, now) | {"runs": [{name: getattr(run, name) for name in _OF_RUN} for run in found]}


def _what(was: Plan, plan: Plan) -> str:
    if plan.paused != was.paused:
        return "schedule paused" if plan.paused else "schedule resumed"
    return "schedule changed"


async def _tell(connection: AsyncConnection, row: Row[Any], actor: str, action: str, reason: str | None) -> None:
    await events.tell(connection, actor=actor, action=action, subject=f"schedule:{row.name}", reason=reason)
