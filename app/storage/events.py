"""Events: the audit trail of what is not a disposition's own way. Those are written where the state is written."""

from __future__ import annotations

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.tables import events


async def tell(
    connection: AsyncConnection,
    *,
    actor: str,
    action: str,
    subject: str,
    account_id: int | None = None,
    reason: str | None = None,
) -> None:
    """Adds a line about ``subject`` ("account:acme", "key:crm"), in the caller's transaction."""
    await connection.execute(
        insert(events).values(actor=actor, action=action, subject=subject, account_id=account_id, reason=reason)
    )
