"""Intake: a disposition is checked, stored, committed; only then is its sender told, and a worker woken."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
import uuid_utils.compat as uuids
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.broker import Bell
from app.domain.disposition import NewDisposition, fingerprint, parse_disposition
from app.domain.errors import Fault, InvalidInput, KeyReused, NotStored
from app.domain.lifecycle import State
from app.services.accounts import Directory
from app.services.group_commit import GroupCommit, Overloaded
from app.services.keys import Caller
from app.storage.dispositions import Arrival, Stored, read_states, store
from app.storage.engine import DATABASE_TROUBLE
from app.storage.idempotency import take_keys

log = structlog.get_logger(__name__)

# After a COMMIT without an answer: when to look whether it took effect (seconds between the tries).
_LOOKS = (0.1, 0.3, 0.6, 1.0)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the sender is told: the disposition is stored, under this id."""

    id: UUID
    state: State
    account: str
    ucid: str
    duplicate: bool


class Intake:
    """Takes dispositions in. A receipt means that the disposition's transaction is committed."""

    def __init__(
        self,
        engine: AsyncEngine,
        directory: Directory,
        bell: Bell,
        *,
        max_age: timedelta,
        duplicate_window: timedelta,
        queue: int,
    ) -> None:
        self._engine = engine
        self._directory = directory
        self._bell = bell
        self._max_age = max_age
        self._window = duplicate_window
        self._groups: GroupCommit[Arrival, Receipt] = GroupCommit(self._store, waiting=queue)

    async def accept(
        self, fields: Mapping[str, object], caller: Caller, *, idempotency_key: str | None = None
    ) -> Receipt:
        """Stores one disposition and gives its receipt.

        Raises ``InvalidInput`` with every wrong field, ``KeyReused``, or ``NotStored`` if the database did not
        confirm: then nothing was promised, and the sender tries again.
        """
        new, account_id = await self._check(fields, caller)
        arrival = Arrival(
            id=uuids.uuid7(),
            account_id=account_id,
            actor=caller.actor,
            new=new,
            fingerprint=fingerprint(new),
            max_age=new.max_age or self._max_age,
            idempotency_key=idempotency_key,
        )
        try:
            return await self._groups.submit(arrival)
        except Overloaded:
            raise NotStored(
                "More dispositions arrive than the database can store. Send this one again in a moment.",
                retry_after=2,
            ) from None

    async def drain(self) -> None:
        """Returns when all that was taken in hand is committed and answered."""
        await self._groups.drain()

    async def _check(self, fields: Mapping[str, object], caller: Caller) -> tuple[NewDisposition, int]:
        """The valid disposition and its account's id; an unknown account is one fault among the others."""
        faults: tuple[Fault, ...] = ()
        new: NewDisposition | None = None
        try:
            new = parse_disposition(fields, bound_account=caller.bound_account)
            customer: object = new.account
        except InvalidInput as error:
            faults = error.faults
            customer = fields.get("account") or fields.get("customer")
        account_id = None
        if isinstance(customer, str) and caller.owns(customer.strip()):
            account_id = await self._directory.find(customer.strip())
        if new is not None and account_id is not None:
            return new, account_id
        if account_id is None and isinstance(customer, str) and not _names_account(faults):
            unknown = Fault("account", f"There is no account {customer[:100]!r}. Check CloudAgent's user name.")
            faults = (unknown, *faults)
        raise InvalidInput(faults)

    async def _store(self, arrivals: Sequence[Arrival]) -> Sequence[Receipt | Exception]:
        """One group: one transaction, then one wake-up for all of it."""
        try:
            async with self._engine.connect() as connection:
                stored = await self._write(connection, arrivals)
                try:
                    await connection.commit()
                except (DBAPIError, OSError) as error:
                    log.warning("commit without an answer", dispositions=len(arrivals), error=type(error).__name__)
                    stored = await self._look_up(stored)
        except DATABASE_TROUBLE as error:
            log.warning("not stored", dispositions=len(arrivals), error=type(error).__name__)
            return [_not_stored()] * len(arrivals)
        self._bell.ring()
        return [
            _receipt(arrival, result) if isinstance(result, Stored) else result
            for arrival, result in zip(arrivals, stored, strict=True)
        ]

    async def _write(self, connection: AsyncConnection, arrivals: Sequence[Arrival]) -> Sequence[Stored | Exception]:
        earlier = await take_keys(connection, arrivals)
        fresh = [arrival for arrival in arrivals if arrival.id not in earlier]
        stored = dict(zip((one.id for one in fresh), await store(connection, fresh, window=self._window), strict=True))
        results: list[Stored | KeyReused] = []
        for arrival in arrivals:
            original = earlier.get(arrival.id)
            match original:
                case None:
                    results.append(stored[arrival.id])
                case KeyReused():
                    results.append(original)
                case _:
                    results.append(Stored(original, None, duplicate=True))
        repeated = [one.id for one in results if isinstance(one, Stored) and one.state is None]
        if not repeated:
            return results
        states = await read_states(connection, repeated)
        return [
            Stored(one.id, states[one.id], one.duplicate) if isinstance(one, Stored) and one.state is None else one
            for one in results
        ]

    async def _look_up(self, stored: Sequence[Stored | Exception]) -> Sequence[Stored | Exception]:
        """Finds out what a COMMIT did that got no answer. What is not found for certain was not stored."""
        ids = [one.id for one in stored if isinstance(one, Stored)]
        found: Mapping[UUID, State] = {}
        for pause in _LOOKS:
            await asyncio.sleep(pause)
            try:
                async with self._engine.connect() as connection:
                    found = await read_states(connection, ids)
                break
            except DATABASE_TROUBLE:
                continue
        return [one if not isinstance(one, Stored) or one.id in found else _not_stored() for one in stored]


def _names_account(faults: Sequence[Fault]) -> bool:
    return any(fault.field in ("account", "customer") for fault in faults)


def _not_stored() -> NotStored:
    return NotStored("The database did not confirm that it has the disposition. Send it again.")


def _receipt(arrival: Arrival, stored: Stored) -> Receipt:
    assert stored.state is not None
    return Receipt(stored.id, stored.state, arrival.new.account, arrival.new.ucid, stored.duplicate)
