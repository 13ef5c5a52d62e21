"""Actions: an operator sends one disposition again, corrects it, or takes it back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuids
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.broker import Bell
from app.domain.corrections import corrected
from app.domain.disposition import NewDisposition, fingerprint, parse_disposition
from app.domain.errors import NotFound, StateConflict
from app.domain.lifecycle import CANCEL, FINAL, SEND_AGAIN, Edge, shown
from app.services.keys import Caller
from app.storage import actions, dispositions
from app.storage.actions import Subject
from app.storage.dispositions import Arrival


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
            _check_newest(subject, disposition_id)
            await actions.send_again(connection, [disposition_id], actor=caller.actor, reason=reason)
        self._bell.ring()

    async def cancel(self, disposition_id: UUID, caller: Caller, *, reason: str | None = None) -> None:
        """Takes a waiting disposition back. Raises ``NotFound``, and ``StateConflict`` if it does not wait."""
        async with self._engine.begin() as connection:
            subject = await self._subject(connection, disposition_id, caller)
            _check(CANCEL, subject, disposition_id, "Only a waiting one can be cancelled.")
            await actions.cancel(connection, [disposition_id], actor=caller.actor, reason=reason)

    async def resend(
        self, disposition_id: UUID, changes: Mapping[str, object], caller: Caller, *, reason: str | None = None
    ) -> UUID:
        """Makes a corrected disposition of one that has ended, and sends that; gives its id. The old stays as it was.

        Raises ``NotFound``; ``StateConflict`` if it has not ended, or if a newer one of its call has come since; and
        ``InvalidInput`` with every fault of the fields.
        """
        async with self._engine.begin() as connection:
            subject = await self._subject(connection, disposition_id, caller)
            if subject.state not in FINAL:
                state = shown(subject.state, on_hold=subject.on_hold)
                raise StateConflict(f"Disposition {disposition_id} is {state}. Cancel it, then correct it.")
            _check_newest(subject, disposition_id)
            [row] = await dispositions.read(connection, [disposition_id])
            new = parse_disposition(corrected(dict(row._mapping), changes))
            arrival = correction(row, new, actor=caller.actor)
            # Locks the call anew if it is the same. If the UCID was wrong, it is another: the database sees to it that
            # two who lock in another order don't wait for each other, and the request is to be sent again.
            await dispositions.store(connection, [arrival], window=timedelta(0))
            await actions.tell_resent(connection, {disposition_id: arrival.id}, actor=caller.actor, reason=reason)
        self._bell.ring()
        return arrival.id

    async def _subject(self, connection: AsyncConnection, disposition_id: UUID, caller: Caller) -> Subject:
        subject = await actions.lock(connection, disposition_id)
        if subject is None or not caller.owns(subject.account):
            raise NotFound(f"There is no disposition {disposition_id}.")
        return subject


def _check(edge: Edge, subject: Subject, disposition_id: UUID, rule: str) -> None:
    if not edge.allows(subject.state):
        state = shown(subject.state, on_hold=subject.on_hold)
        raise StateConflict(f"Disposition {disposition_id} is {state}. {rule}")


def _check_newest(subject: Subject, disposition_id: UUID) -> None:
    if subject.newer is not None:
        raise StateConflict(
            f"Disposition {disposition_id} is not sent again: {subject.newer} of the same call is newer, and "
            "would be overwritten."
        )


def correction(was: Row[Any], new: NewDisposition, *, actor: str, replay_id: UUID | None = None) -> Arrival:
    """The corrected disposition on its way into the table: the newest of its call, if that is still the same call."""
    return Arrival(
        id=uuids.uuid7(),
        account_id=was.account_id,
        actor=actor,
        new=new,
        fingerprint=fingerprint(new),
        max_age=new.max_age or timedelta(seconds=was.max_age_seconds),
        source=was.source,
        resent_from=was.id,
        replay_id=replay_id,
        corrects=new.ucid == was.ucid,
    )
