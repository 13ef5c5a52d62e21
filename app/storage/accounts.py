"""Accounts: their settings, their encrypted apiKey, their hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.lanes import LEARNED
from app.storage.tables import accounts, lanes


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it is stored, and how its lane stands. Rates are calls a second.

    ``api_key`` is a Fernet token; ``rate_per_second`` None means no limit, ``learned_rate`` None that none was met.
    """

    id: int
    customer: str
    api_key: str
    base_url: str
    path: str | None
    api: str
    max_in_flight: int
    rate_per_second: float | None
    callback_format: str
    late_callback: str
    revision: int
    hold_cause: str | None
    hold_reason: str | None
    held_at: datetime | None
    created_at: datetime
    updated_at: datetime
    doubt: str | None
    probe_at: datetime | None
    learned_rate: float | None

    @property
    def on_hold(self) -> bool:
        """True while nothing is sent for this account."""
        return self.hold_cause is not None


_SHOWN: list[ColumnElement[Any]] = [
    *(column for column in accounts.c if column is not accounts.c.failure_salt),  # it is the triggers' alone
    lanes.c.doubt,
    lanes.c.probe_at,
    literal_column(LEARNED).label("learned_rate"),
]
_ACCOUNTS = select(*_SHOWN).join_from(accounts, lanes)


async def read(connection: AsyncConnection, customer: str) -> Account | None:
    """One account by its user name, or None."""
    row = (await connection.execute(_ACCOUNTS.where(accounts.c.customer == customer))).one_or_none()
    return Account(*row) if row else None


async def read_all(connection: AsyncConnection) -> list[Account]:
    """All accounts by name."""
    return [Account(*row) for row in await connection.execute(_ACCOUNTS.order_by(accounts.c.customer))]


async def read_some(connection: AsyncConnection, ids: Sequence[int]) -> list[Account]:
    """The accounts with these ids."""
    return [Account(*row) for row in await connection.execute(_ACCOUNTS.where(accounts.c.id.in_(ids)))]


async def create(connection: AsyncConnection, values: Mapping[str, Any]) -> int | None:
    """Adds an account with its lane; gives its id, or None if there is one: somebody else may be making it, too."""
    insertion = insert(accounts).values(**values).on_conflict_do_nothing().returning(accounts.c.id)
    account_id: int | None = (await connection.scalars(insertion)).one_or_none()
    if account_id is not None:
        await connection.execute(insert(lanes).values(account_id=account_id))
    return account_id


async def change(connection: AsyncConnection, account_id: int, values: Mapping[str, Any]) -> None:
    """Changes settings. The revision grows, so that refusals of calls under way don't count against the new ones."""
    if "rate_per_second" in values:
        # What was taken at the old pace is forgotten: after an hour's pause between two calls, that could be an hour.
        # What was learned is forgotten, too: a person knows better.
        forgotten = {"paced_until": text("'-infinity'"), "learned_rate": None, "learned_at": None}
        await connection.execute(update(lanes).where(lanes.c.account_id == account_id).values(forgotten))
    await connection.execute(
        update(accounts)
        .where(accounts.c.id == account_id)
        .values(**values, revision=accounts.c.revision + 1, updated_at=func.clock_timestamp())
    )


_HOLD = text("""
    UPDATE accounts SET hold_cause = :cause, hold_reason = :reason, held_at = clock_timestamp()
    WHERE id = :id AND hold_cause IS NULL AND (CAST(:revision AS int) IS NULL OR revision = :revision)
    RETURNING customer
""")


async def hold(
    connection: AsyncConnection, account_id: int, *, cause: str, reason: str | None, revision: int | None = None
) -> str | None:
    """Holds the account; gives its name, or None if it is held already or has changed since ``revision``."""
    return (
        await connection.scalars(_HOLD, {"id": account_id, "cause": cause, "reason": reason, "revision": revision})
    ).one_or_none()


_RELEASE = text("""
    UPDATE accounts SET hold_cause = NULL, hold_reason = NULL, held_at = NULL, revision = revision + 1
    WHERE id = :id AND hold_cause IS NOT NULL RETURNING id
""")


async def release(connection: AsyncConnection, account_id: int) -> bool:
    """Takes the hold off; False if there was none."""
    return (await connection.scalars(_RELEASE, {"id": account_id})).one_or_none() is not None


async def remember_format(connection: AsyncConnection, account_id: int, callback_format: str) -> None:
    """Keeps the call-back time format that this account's CloudAgent takes."""
    await connection.execute(
        update(accounts).where(accounts.c.id == account_id).values(callback_format=callback_format)
    )
