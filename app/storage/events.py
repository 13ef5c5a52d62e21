"""Events: the audit trail of what is not a disposition's own way. Those are written where the state is written."""

from __future__ import annotations

from contextvars import ContextVar

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.tables import events

came_from: ContextVar[str | None] = ContextVar("came_from", default=None)
"""From where the person acts whose request this is: the caller's address. The edge that took the request sets it.

No rule looks at it, and everything that a person does is to have it. So it goes with the request, past the services.
"""


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
        insert(events).values(
            actor=actor,
            action=action,
            subject=subject,
            account_id=account_id,
            reason=reason,
            address=came_from.get(),
        )
    )
