"""Replays and their items: frozen, taken in chunks, recorded. Who works at a replay holds the lock of its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Row, Uuid, func, insert, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.filters import Filter, to_json
from app.domain.lifecycle import FINAL
from app.domain.replays import Action, Order, ReplayState, Result, Why
from app.storage.filters import narrowed
from app.storage.judging import judged
from app.storage.tables import replay_items, replays

_SAMPLES = 5  # ids of each kind


@dataclass(frozen=True, slots=True)
class Kind:
    """Dispositions that are alike: ``why`` they can't be done, None for those that can. ``samples``: some of them."""

    why: str | None
    n: int
    samples: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class NewReplay:
    """A replay to be made. ``key`` and ``print``: of a request that may come twice."""

    id: UUID
    order: Order
    actor: str
    state: ReplayState
    key: str | None = None
    print: bytes | None = None
    schedule_id: UUID | None = None


async def plan(connection: AsyncConnection, order: Order) -> list[Kind]:
    """What the filter takes, by kind. Nothing is written."""
    found = narrowed(judged(order), order.filter).cte("found")
    samples = func.array_agg(found.c.id, type_=ARRAY(Uuid))[1:_SAMPLES]
    rows = await connection.execute(select(found.c.why, func.count(), samples).group_by(found.c.why))
    return [Kind(why, n, ids) for why, n, ids in rows]


async def create(connection: AsyncConnection, new: NewReplay) -> None:
    """Writes a replay and freezes its items: those that can be done now, the oldest first, up to ``max_items``."""
    order = new.order
    await connection.execute(
        insert(replays).values(
            id=new.id,
            action=order.action,
            state=new.state,
            actor=new.actor,
            reason=order.reason,
            accounts=sorted(order.filter.only_accounts),
            filter=to_json(order.filter),
            map=order.map,
            rate_per_second=order.rate_per_second,
            max_items=order.max_items,
            extend_max_age=order.extend_max_age,
            stop_share=order.stop_share,
            stop_after=order.stop_after,
            left_out={},
            account_ids=[],
            total=0,
            waiting=0,
            started_at=func.clock_timestamp() if new.state is ReplayState.RUNNING else None,
            idempotency_key=new.key,
            print=new.print,
            schedule_id=new.schedule_id,
        )
    )
    found = narrowed(judged(order), order.filter).cte("found").prefix_with("MATERIALIZED")
    chosen = (
        select(literal(new.id), func.row_number().over(order_by=found.c.id), found.c.id, found.c.account_id)
        .where(found.c.why.is_(None))
        .order_by(found.c.id)
        .limit(order.max_items)
    )
    frozen = insert(replay_items).from_select(["replay_id", "position", "disposition_id", "account_id"], chosen)
    kinds = select(found.c.why, func.count().label("n")).group_by(found.c.why)
    counted = await connection.execute(kinds.add_cte(frozen.cte("frozen")))
    counts: dict[str | None, int] = {row.why: row.n for row in counted}
    matched = counts.pop(None, 0)
    total = min(matched, order.max_items)
    if matched > total:
        counts[Why.OVER_LIMIT] = matched - total
    of_items = select(func.array_agg(replay_items.c.account_id.distinct())).where(replay_items.c.replay_id == new.id)
    await connection.execute(
        update(replays)
        .where(replays.c.id == new.id)
        .values(
            left_out=counts,
            total=total,
            waiting=total,
            account_ids=func.coalesce(of_items.scalar_subquery(), []),
        )
    )


async def read(connection: AsyncConnection, replay_id: UUID) -> Row[Any] | None:
    """A replay, or None."""
    return (await connection.execute(select(replays).where(replays.c.id == replay_id))).one_or_none()


async def read_all(connection: AsyncConnection, replay_ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Those of these replays that there are."""
    return (await connection.execute(select(replays).where(replays.c.id.in_(replay_ids)))).all()


async def lock(connection: AsyncConnection, replay_id: UUID) -> Row[Any] | None:
    """A replay that nobody else works at until the transaction ends, or None."""
    return (await connection.execute(select(replays).where(replays.c.id == replay_id).with_for_update())).one_or_none()


async def find_key(connection: AsyncConnection, actor: str, key: str) -> Row[Any] | None:
    """The replay that this client has made with this idempotency key."""
    query = select(replays).where(replays.c.actor == actor, replays.c.idempotency_key == key)
    return (await connection.execute(query)).one_or_none()


async def page(
    connection: AsyncConnection, only_accounts: frozenset[str], *, after: UUID | None, limit: int
) -> Sequence[Row[Any]]:
    """Up to ``limit`` replays, newest first, those before ``after`` only; of a bound key those within its accounts."""
    query = select(replays).order_by(replays.c.id.desc()).limit(limit)
    if only_accounts:
        bound = replays.c.accounts
        query = query.where(func.cardinality(bound) > 0, bound.op("<@")(literal(sorted(only_accounts), bound.type)))
    if after is not None:
        query = query.where(replays.c.id < after)
    return (await connection.execute(query)).all()


async def items(
    connection: AsyncConnection, replay_id: UUID, *, results: Sequence[Result], after: int, limit: int
) -> Sequence[Row[Any]]:
    """Up to ``limit`` items in their order, those after the position ``after``."""
    query = (
        select(replay_items)
        .where(replay_items.c.replay_id == replay_id, replay_items.c.position > after)
        .order_by(replay_items.c.position)
        .limit(limit)
    )
    if results:
        query = query.where(replay_items.c.result.in_([result.value for result in results]))
    return (await connection.execute(query)).all()


def order_of(replay: Row[Any], reason: str | None) -> Order:
    """What was asked for, but for the filter: it has done its work when the items were frozen."""
    return Order(
        Filter(),
        action=Action(replay.action),
        map=replay.map,
        rate_per_second=replay.rate_per_second,
        max_items=replay.max_items,
        extend_max_age=replay.extend_max_age,
        stop_share=replay.stop_share,
        stop_after=replay.stop_after,
        reason=reason,
    )


_DUE = text(f"""
    SELECT *, state = '{ReplayState.RUNNING}' AND next_at <= statement_timestamp() AS chunk_due,
           look_at <= statement_timestamp() AS look_due
    FROM replays
    WHERE settled_at IS NULL AND state <> '{ReplayState.DRAFT}'
      AND (state = '{ReplayState.RUNNING}' AND next_at <= statement_timestamp() OR look_at <= statement_timestamp())
    ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
""")


async def lock_due(connection: AsyncConnection) -> Row[Any] | None:
    """A replay at which something is to be done now and nobody works, or None."""
    return (await connection.execute(_DUE)).one_or_none()


# A lane takes no more of a replay than what it sends in about a second, what waits in it already counted: what comes
# live waits for no more than that, and while live traffic alone fills the lane, the replay stands still. Who is on hold
# takes all, since all of that is skipped.
_TAKE = text("""
    WITH lane AS (
        SELECT accounts.id AS account_id,
               CASE WHEN :unbounded OR hold_cause IS NOT NULL THEN :n ELSE least(:n, a_second.n - (
                   SELECT count(*) FROM (
                       SELECT FROM calls
                       WHERE account_id = accounts.id AND lease_until IS NULL AND next_at <= statement_timestamp()
                       LIMIT a_second.n) AS due)) END AS room
        FROM accounts CROSS JOIN LATERAL (
            SELECT least(max_in_flight, ceil(rate_per_second))::int AS n) AS a_second
        WHERE accounts.id = ANY(:accounts)
    )
    SELECT item.position, item.disposition_id
    FROM lane CROSS JOIN LATERAL (
        SELECT position, disposition_id FROM replay_items
        WHERE replay_id = :replay AND account_id = lane.account_id AND result = 'waiting'
        ORDER BY position LIMIT lane.room) AS item
    ORDER BY item.position LIMIT :n
""")

_LOCK_CALLS = text("""
    SELECT calls.id FROM calls
    WHERE id IN (SELECT call_id FROM dispositions WHERE id = ANY(:ids)) ORDER BY account_id, ucid FOR UPDATE
""")


async def take(connection: AsyncConnection, replay: Row[Any], *, n: int, unbounded: bool) -> dict[UUID, int]:
    """The next items, up to ``n``: disposition to position. Their calls are locked, in one order for everybody.

    ``unbounded``: whatever room their lanes have; for what sends nothing.
    """
    parameters = {"replay": replay.id, "accounts": replay.account_ids, "n": n, "unbounded": unbounded}
    taken = {row.disposition_id: row.position for row in await connection.execute(_TAKE, parameters)}
    if taken:
        await connection.execute(_LOCK_CALLS, {"ids": list(taken)})
    return taken


async def judge(connection: AsyncConnection, order: Order, ids: Sequence[UUID]) -> dict[UUID, str | None]:
    """Why each can't be done, None for those that can; what is not there any more is missing."""
    rows = await connection.execute(narrowed(judged(order), Filter(ids=ids)))
    return {row.id: row.why for row in rows}


@dataclass(frozen=True, slots=True)
class Done:
    """What an item came to. ``why``: where it was skipped. ``sent_id``: the disposition that was sent."""

    position: int
    result: Result
    why: str | None = None
    sent_id: UUID | None = None


_RECORD = text("""
    UPDATE replay_items item SET result = done.result, why = done.why, sent_id = done.sent_id, at = clock_timestamp()
    FROM unnest(CAST(:positions AS int[]), CAST(:results AS text[]), CAST(:whys AS text[]), CAST(:sent_ids AS uuid[]))
         AS done(position, result, why, sent_id)
    WHERE item.replay_id = :replay AND item.position = done.position AND item.result = 'waiting'
""")


async def record(connection: AsyncConnection, replay_id: UUID, done: Sequence[Done]) -> None:
    """Writes what items came to, in the transaction that did it to their dispositions."""
    await connection.execute(
        _RECORD,
        {
            "replay": replay_id,
            "positions": [one.position for one in done],
            "results": [one.result.value for one in done],
            "whys": [one.why for one in done],
            "sent_ids": [one.sent_id for one in done],
        },
    )


# What has another replay's id, or none again, was sent once more since: so it had failed.
_SETTLE = text(f"""
    WITH ended AS (
        SELECT item.position,
               CASE WHEN d.replay_id IS DISTINCT FROM item.replay_id THEN '{Result.FAILED}' ELSE d.state END AS result,
               CASE WHEN d.replay_id IS DISTINCT FROM item.replay_id THEN NULL ELSE d.cause END AS cause
        FROM replay_items item JOIN dispositions d ON d.id = item.sent_id
        WHERE item.replay_id = :replay AND item.result = '{Result.SENT}'
          AND (d.state IN ({", ".join(f"'{state}'" for state in sorted(FINAL))})
               OR d.replay_id IS DISTINCT FROM item.replay_id)
    ), settled AS (
        UPDATE replay_items item SET result = ended.result, why = ended.cause, at = clock_timestamp()
        FROM ended WHERE item.replay_id = :replay AND item.position = ended.position
        RETURNING item.result
    )
    SELECT result, count(*) AS n FROM settled GROUP BY result
""")


async def settle(connection: AsyncConnection, replay_id: UUID) -> dict[Result, int]:
    """Writes what has become of what was sent; gives how many came to which final state."""
    return {Result(row.result): row.n for row in await connection.execute(_SETTLE, {"replay": replay_id})}


async def change(connection: AsyncConnection, replay_id: UUID, values: Mapping[str, Any]) -> Row[Any]:
    """Writes columns of a locked replay; gives it as it is then."""
    changed: Row[Any] = (
        await connection.execute(update(replays).where(replays.c.id == replay_id).values(**values).returning(replays))
    ).one()
    return changed


async def move(
    connection: AsyncConnection, replay_id: UUID, start: Result, results: Mapping[Result, int], **more: Any
) -> Row[Any]:
    """Moves items of a locked replay from one count into others, and writes ``more``; gives it as it is then."""
    counts = {result.value: replays.c[result.value] + n for result, n in results.items()}
    counts[start.value] = replays.c[start.value] - sum(results.values())
    return await change(connection, replay_id, counts | more)


async def put_off(connection: AsyncConnection, replay_id: UUID, *, seconds: float) -> None:
    """Leaves a replay alone for a while."""
    await change(connection, replay_id, {"next_at": in_seconds(seconds), "look_at": in_seconds(seconds)})


def in_seconds(seconds: float) -> ColumnElement[datetime]:
    """So long after now, by the database's clock."""
    return func.clock_timestamp() + timedelta(seconds=seconds)


def paced(items_done: int, rate_per_second: float) -> ColumnElement[datetime]:
    """When the next chunk may be done after so many: a pause that came out too long is made up for, up to a second."""
    earliest = func.greatest(replays.c.next_at, func.clock_timestamp() - timedelta(seconds=1))
    return earliest + timedelta(seconds=items_done / rate_per_second)


_PRUNE = text(f"""
    DELETE FROM replays
    WHERE created_at < statement_timestamp() - CAST(:retention AS interval)
       OR state = '{ReplayState.DRAFT}' AND created_at < statement_timestamp() - interval '1 day'
""")


async def prune(connection: AsyncConnection, *, retention: timedelta) -> None:
    """Deletes what is older than ``retention``, and drafts that nobody started."""
    await connection.execute(_PRUNE, {"retention": retention})
