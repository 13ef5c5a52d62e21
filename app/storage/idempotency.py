"""Idempotency keys: which request came first under a key, and what it asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.errors import KeyReused
from app.storage.dispositions import Arrival

# A conflicting key of a transaction under way is waited for. In one order for everybody, and before any call is
# locked, so that nobody waits in a circle; of two in one group the first to come has it.
_TAKE = text("""
    INSERT INTO idempotency_keys (client, account_id, key, print, disposition_id)
    SELECT client, account_id, key, print, disposition_id
    FROM unnest(CAST(:clients AS text[]), CAST(:account_ids AS int[]), CAST(:keys AS text[]),
                CAST(:prints AS bytea[]), CAST(:ids AS uuid[]))
         WITH ORDINALITY AS mine(client, account_id, key, print, disposition_id, place)
    ORDER BY client, account_id, key, place
    ON CONFLICT DO NOTHING
""")

_READ = text("""
    SELECT client, account_id, key, kept.print, kept.disposition_id
    FROM idempotency_keys kept
    JOIN unnest(CAST(:clients AS text[]), CAST(:account_ids AS int[]), CAST(:keys AS text[]))
         AS mine(client, account_id, key) USING (client, account_id, key)
""")


async def take_keys(connection: AsyncConnection, arrivals: Sequence[Arrival]) -> dict[UUID, UUID | KeyReused]:
    """Takes the keys of the arrivals that have one, in the caller's transaction.

    The answer names only those arrivals whose key was there before: the id that the key stands for, or the error if
    it came with another body then.
    """
    keyed = [arrival for arrival in arrivals if arrival.idempotency_key is not None]
    if not keyed:
        return {}
    columns: dict[str, list[object]] = {
        "clients": [arrival.actor for arrival in keyed],
        "account_ids": [arrival.account_id for arrival in keyed],
        "keys": [arrival.idempotency_key for arrival in keyed],
    }
    taken = {"prints": [arrival.fingerprint for arrival in keyed], "ids": [arrival.id for arrival in keyed]}
    names = {(arrival.actor, arrival.account_id, arrival.idempotency_key) for arrival in keyed}
    kept: dict[tuple[str, int, str | None], Row[Any]] = {}
    while names - kept.keys():  # again, if one that stood in the way was pruned before it was read
        await connection.execute(_TAKE, columns | taken)
        kept = {(row.client, row.account_id, row.key): row for row in await connection.execute(_READ, columns)}
    earlier: dict[UUID, UUID | KeyReused] = {}
    for arrival in keyed:
        row = kept[arrival.actor, arrival.account_id, arrival.idempotency_key]
        if row.disposition_id == arrival.id:
            continue
        same = row.print == arrival.fingerprint
        earlier[arrival.id] = (
            row.disposition_id
            if same
            else KeyReused(
                f"The Idempotency-Key {arrival.idempotency_key!r} came before with other fields, as disposition "
                f"{row.disposition_id}. Use a new key for a new disposition."
            )
        )
    return earlier
