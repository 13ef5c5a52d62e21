"""Actions: an operator sends one disposition again, or takes it back."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.broker import Bell
from app.domain.errors import NotFound, StateConflict
from app.domain.lifecycle import CANCEL, SEND_AGAIN, Edge, shown
from app.services.keys import Caller
from app.storage import actions
from app.storage.actions import Subject


class Actions:
    """What can be done to one disposition. Each is an event with its actor and its reason."""

    def __init__(self, engine: AsyncEngine, bell: Bell) -> None:
        self._engine = engine
        self._bell = bell

    async def retry(self, disposition_id: UUID, caller: Caller, *, reason: str | None = None) -> None:
        """Sends a failed disposition again.

        Raises ``NotFound``, and ``StateConflict`` if it has not failed, or if a newer one of its call has come since:
        CloudAgent keeps what it gets last, so an old disposition would overwrite the newer one.
        """
        async with self._engine.begin() as connection:
            subject = await self._subject(connection, disposition_id, caller)
            _check(SEND_AGAIN, subject, disposition_id, "Only a failed one can be sent again.")
            if subject.newer is not None:
                raise StateConflict(
                    f"Disposition {disposition_id} is not sent again: {subject.newer} of the same call is newer, and "
                    "would be overwritten."
                )
            await actions.send_again(connection, disposition_id, actor=caller.actor, reason=reason)
        self._bell.ring()

    async def cancel(self, disposition_id: UUID, caller: Caller, *, reason: str | None = None) -> None:
        """Takes a waiting disposition back. Raises ``NotFound``, and ``StateConflict`` if it does not wait."""
        async with self._engine.begin() as connection:
            subject = await self._subject(connection, disposition_id, caller)
            _check(CANCEL, subject, disposition_id, "Only a waiting one can be cancelled.")
            await actions.cancel(connection, disposition_id, actor=caller.actor, reason=reason)

    async def _subject(self, connection: AsyncConnection, disposition_id: UUID, caller: Caller) -> Subject:
        subject = await actions.lock(connection, disposition_id)
        if subject is None or not caller.owns(subject.account):
            raise NotFound(f"There is no disposition {disposition_id}.")
        return subject


def _check(edge: Edge, subject: Subject, disposition_id: UUID, rule: str) -> None:
    if not edge.allows(subject.state):
        state = shown(subject.state, on_hold=subject.on_hold)
        raise StateConflict(f"Disposition {disposition_id} is {state}. {rule}")
