"""Tokens: one for each account whose flavour asks for it, encrypted, shared by all workers.

A row holds the account's current token and everything that keeps its workers from asking for too many: who is asking
for the next one just now, and when it was asked for lately.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.tokens import HOUR, Standing


@dataclass(frozen=True, slots=True)
class Stored:
    """An account's row. ``token`` is a Fernet token; ``number`` grows with each one. ``asking``: somebody asks for
    the next one, and has not been lost meanwhile."""

    token: str | None
    number: int
    asking: bool
    standing: Standing


# One look, with the time of it. What was asked for longer ago than CloudAgent counts is left out.
_READ = f"""
    SELECT token, number, coalesce(asking_until > clock_timestamp(), false) AS asking, clock_timestamp() AS now,
           CASE WHEN token IS NOT NULL THEN made_at END AS made_at, blocked_until,
           ARRAY(SELECT at FROM unnest(asked) AS at
                 WHERE at > clock_timestamp() - interval '{HOUR.total_seconds()} s' ORDER BY at) AS asked
    FROM tokens WHERE account_id = :id
"""
_LOOK = text(_READ)
_LOCK = text(f"{_READ} FOR UPDATE")
_MAKE_ROW = text("INSERT INTO tokens (account_id) VALUES (:id) ON CONFLICT DO NOTHING")


async def read(connection: AsyncConnection, account_id: int) -> Stored | None:
    """The account's row as it is, or None if it never had one."""
    row = (await connection.execute(_LOOK, {"id": account_id})).one_or_none()
    return None if row is None else _stored(row)


async def lock(connection: AsyncConnection, account_id: int) -> Stored:
    """The account's row, made if there is none, locked until the caller's transaction ends."""
    await connection.execute(_MAKE_ROW, {"id": account_id})
    return _stored((await connection.execute(_LOCK, {"id": account_id})).one())


def _stored(row: Row[Any]) -> Stored:
    return Stored(row.token, row.number, row.asking, Standing(row.now, row.made_at, row.asked, row.blocked_until))


_BEGIN = text(f"""
    UPDATE tokens SET epoch = epoch + 1, asking_until = clock_timestamp() + :lease, asked =
        ARRAY(SELECT at FROM unnest(asked) AS at WHERE at > clock_timestamp() - interval '{HOUR.total_seconds()} s')
        || clock_timestamp()
    WHERE account_id = :id
    RETURNING epoch, asked[cardinality(asked)] AS asked_at
""")


@dataclass(frozen=True, slots=True)
class Asking:
    """The right to ask for a token, for the time of the lease; and when it was counted."""

    epoch: int
    asked_at: datetime


async def begin(connection: AsyncConnection, account_id: int, *, lease: timedelta) -> Asking:
    """Counts a request, before it is made, and keeps everybody else from making one until the lease is out.

    The caller has locked the row and found that a request may be made.
    """
    return Asking(*(await connection.execute(_BEGIN, {"id": account_id, "lease": lease})).one())


_STORE = text("""
    UPDATE tokens SET token = :token, number = number + 1, made_at = :asked_at, accepted = false, asking_until = NULL,
        blocked_until = NULL
    WHERE account_id = :id AND epoch = :epoch
    RETURNING number
""")


async def store(connection: AsyncConnection, account_id: int, asking: Asking, token: str) -> int | None:
    """Keeps the new token; gives its number, or None if somebody else asks by now, or the account has changed."""
    values = {"id": account_id, "epoch": asking.epoch, "asked_at": asking.asked_at, "token": token}
    return (await connection.scalars(_STORE, values)).one_or_none()


# Who still has a token that serves leaves the lease to run out: the next try is not at once.
_GIVE_UP = text("""
    UPDATE tokens SET asking_until = CASE WHEN :serves THEN asking_until END,
        asked = CASE WHEN :unsent THEN array_remove(asked, :asked_at) ELSE asked END,
        blocked_until = CASE WHEN CAST(:blocked_for AS interval) IS NULL THEN blocked_until
                             ELSE clock_timestamp() + :blocked_for END
    WHERE account_id = :id AND epoch = :epoch
""")


async def give_up(
    connection: AsyncConnection,
    account_id: int,
    asking: Asking,
    *,
    serves: bool,
    unsent: bool,
    blocked_for: timedelta | None = None,
) -> None:
    """No token came. ``unsent``: the request certainly was not sent, so it is not counted. ``serves``: the old one
    still does."""
    await connection.execute(
        _GIVE_UP,
        {
            "id": account_id,
            "epoch": asking.epoch,
            "asked_at": asking.asked_at,
            "serves": serves,
            "unsent": unsent,
            "blocked_for": blocked_for,
        },
    )


_ACCEPT = text("UPDATE tokens SET accepted = true WHERE account_id = :id AND number = :number AND NOT accepted")
_REFUSE = text("""
    UPDATE tokens SET token = NULL WHERE account_id = :id AND number = :number AND token IS NOT NULL RETURNING accepted
""")
_DROP = text("""
    UPDATE tokens SET token = NULL, epoch = epoch + 1, asking_until = NULL, blocked_until = NULL WHERE account_id = :id
""")


async def accept(connection: AsyncConnection, account_id: int, number: int) -> None:
    """CloudAgent took a call with this token."""
    await connection.execute(_ACCEPT, {"id": account_id, "number": number})


async def refuse(connection: AsyncConnection, account_id: int, number: int) -> bool:
    """Takes a token away that CloudAgent refused. False if it is the current one and was never accepted."""
    accepted = (await connection.scalars(_REFUSE, {"id": account_id, "number": number})).one_or_none()
    return accepted is not False


async def drop(connection: AsyncConnection, account_id: int) -> None:
    """Forgets the token, and the one that is being asked for: it is another account's, as far as CloudAgent knows.

    Who is about to ask for the first one meets the row as well, waits for the caller's transaction, and looks again.
    """
    await connection.execute(_MAKE_ROW, {"id": account_id})
    await connection.execute(_DROP, {"id": account_id})
