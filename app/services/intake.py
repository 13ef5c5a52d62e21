"""Intake: a disposition is checked, stored, committed; only then is its sender told, and a worker woken."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import structlog
import uuid_utils.compat as uuids
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.broker import Bell
from app.domain.disposition import NewDisposition, fingerprint, parse_disposition
from app.domain.errors import Fault, InvalidInput, KeyReused, NotStored, WrapupError
from app.domain.lifecycle import State
from app.domain.refusals import quoted
from app.services.accounts import Directory
from app.services.group_commit import GroupCommit, Overloaded
from app.services.keys import Caller
from app.storage.dispositions import Arrival, Stored, read_states, store, store_new
from app.storage.engine import DATABASE_TROUBLE
from app.storage.idempotency import take_keys
from app.storage.standing import StandingConnections

log = structlog.get_logger(__name__)

_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")

# After a COMMIT without an answer: when to look whether it took effect (seconds between the tries).
_LOOKS = (0.1, 0.3, 0.6, 1.0)

_ACCOUNT = ("account", "customer")  # the field's name, and CloudAgent's


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
        standing: StandingConnections,
        directory: Directory,
        bell: Bell,
        *,
        max_age: timedelta,
        duplicate_window: timedelta,
        queue: int,
    ) -> None:
        self._engine = engine
        self._standing = standing
        self._directory = directory
        self._bell = bell
        self._max_age = max_age
        self._window = duplicate_window
        self._groups: GroupCommit[Arrival, Receipt] = GroupCommit(
            self._store, key=lambda arrival: arrival.call, waiting=queue
        )

    async def accept(
        self, fields: Mapping[str, object], caller: Caller, *, idempotency_key: str | None = None
    ) -> Receipt:
        """Stores one disposition and gives its receipt.

        Raises ``InvalidInput`` with every wrong field, ``KeyReused``, or ``NotStored`` if the database did not
        confirm: then nothing was promised, and the sender tries again.
        """
        return await self._submit(await self._arrival(fields, caller, idempotency_key))

    async def begin(
        self, fields: Mapping[str, object], caller: Caller, *, idempotency_key: str | None = None
    ) -> Awaitable[Receipt | WrapupError]:
        """Checks and hands over one of many, and returns what its answer is awaited from; that never raises.

        Those that are begun one after the other are stored in this order, in as few commits as can be.
        """
        answer: asyncio.Future[Receipt | WrapupError] = asyncio.get_running_loop().create_future()
        try:
            arrival = await self._arrival(fields, caller, idempotency_key)
        except WrapupError as error:
            answer.set_result(error)
            return answer
        return asyncio.create_task(self._answer(arrival))

    async def _answer(self, arrival: Arrival) -> Receipt | WrapupError:
        try:
            return await self._submit(arrival)
        except WrapupError as error:
            return error

    async def _arrival(self, fields: Mapping[str, object], caller: Caller, idempotency_key: str | None) -> Arrival:
        if idempotency_key is not None and not _VISIBLE.fullmatch(idempotency_key):
            fault = "The idempotency key must be 1 to 255 visible ASCII characters without spaces."
            raise InvalidInput([Fault("idempotency_key", fault)])
        new, account_id = await self._check(fields, caller)
        return Arrival(
            id=uuids.uuid7(),
            account_id=account_id,
            actor=caller.actor,
            new=new,
            fingerprint=fingerprint(new),
            max_age=new.max_age or self._max_age,
            idempotency_key=idempotency_key,
        )

    async def _submit(self, arrival: Arrival) -> Receipt:
        try:
            return await self._groups.submit(arrival)
        except DBAPIError as error:
            # Poison: our checks let through what the database refuses. That is a fault of ours, and shows in the log.
            refused = type(error.orig).__name__
            # No traceback: the database quotes the row, and with it personal data.
            log.error("the database refused a disposition", account=arrival.new.account, error=refused)  # noqa: TRY400
            raise _not_stored() from None
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
        try:
            new: NewDisposition | None = parse_disposition(fields, bound_account=caller.bound_account)
            faults: tuple[Fault, ...] = ()
        except InvalidInput as error:
            new, faults = None, error.faults
        name, customer = _named_account(fields, caller)
        if customer is None or any(fault.field in _ACCOUNT for fault in faults):
            raise InvalidInput(faults)
        account_id = await self._find(customer, caller)
        if new is not None and account_id is not None:
            return new, account_id
        if account_id is None:
            unknown = f"There is no account {quoted(customer)}. Check CloudAgent's user name."
            faults = (Fault(name, unknown), *faults)
        raise InvalidInput(faults)

    async def _find(self, customer: str, caller: Caller) -> int | None:
        """The account's id; None if there is none of that name, or it is not the caller's: both read alike."""
        if not caller.owns(customer):
            return None
        try:
            return await self._directory.find(customer)
        except DATABASE_TROUBLE as error:
            log.warning("not stored", dispositions=1, error=type(error).__name__)
            raise _not_stored() from None

    # Storing: what GroupCommit hands over, one group at a time (two at the same time, never of the same call).

    async def _store(self, arrivals: Sequence[Arrival]) -> Sequence[Receipt | Exception]:
        """One group: what is new altogether in one statement, then what needs a decision; then one wake-up for all."""
        first: dict[Hashable, Arrival] = {}
        for arrival in arrivals:
            first.setdefault(arrival.call, arrival)
        stored = await self._store_new([one for one in first.values() if one.idempotency_key is None])
        if rest := [one for one in arrivals if one.id not in stored]:
            stored |= await self._store_rest(rest)
        # Two turns of the loop later, when the answers are out: ringing takes some of this process' time.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._bell.ring)
        return [_receipt(arrival, stored[arrival.id]) for arrival in arrivals]

    async def _store_new(self, arrivals: Sequence[Arrival]) -> dict[UUID, Stored | Exception]:
        if not arrivals:
            return {}
        try:
            async with self._standing.connection() as connection:
                try:
                    return {**await store_new(connection, arrivals)}
                except DATABASE_TROUBLE as error:
                    return await self._look_up(arrivals, error)
        except DATABASE_TROUBLE as error:
            return _none_stored(arrivals, error)

    async def _store_rest(self, arrivals: Sequence[Arrival]) -> dict[UUID, Stored | Exception]:
        try:
            async with self._engine.connect() as connection:
                stored = await self._decide(connection, arrivals)
                try:
                    await connection.commit()
                except (DBAPIError, OSError) as error:
                    return await self._look_up(arrivals, error)
                return stored
        except DATABASE_TROUBLE as error:
            return _none_stored(arrivals, error)
        except Exception as error:
            # One of them is poison. In halves it is found, and its neighbours are stored. Here and not in GroupCommit:
            # what was new altogether is committed by now, and must not be written again.
            if len(arrivals) == 1:
                return {arrivals[0].id: error}
            half = len(arrivals) // 2
            return await self._store_rest(arrivals[:half]) | await self._store_rest(arrivals[half:])

    async def _decide(self, connection: AsyncConnection, arrivals: Sequence[Arrival]) -> dict[UUID, Stored | Exception]:
        """Keys first, then the calls. For a duplicate the original's state is looked up."""
        earlier = await take_keys(connection, arrivals)
        fresh = [one for one in arrivals if one.id not in earlier]
        decided: dict[UUID, Stored | Exception] = {
            one.id: original if isinstance(original := earlier[one.id], KeyReused) else Stored(original, None, True)
            for one in arrivals
            if one.id in earlier
        }
        decided |= zip((one.id for one in fresh), await store(connection, fresh, window=self._window), strict=True)
        repeated = {key: one for key, one in decided.items() if isinstance(one, Stored) and one.state is None}
        if repeated:
            states = await read_states(connection, [one.id for one in repeated.values()])
            decided |= {
                # The original was pruned a moment ago, and its key with it: who sends it again is new.
                key: replace(one, state=states[one.id]) if one.id in states else _not_stored()
                for key, one in repeated.items()
            }
        return decided

    async def _look_up(self, arrivals: Sequence[Arrival], error: BaseException) -> dict[UUID, Stored | Exception]:
        """Finds out what a COMMIT did that got no answer. What is not found for certain was not stored."""
        log.warning("commit without an answer", dispositions=len(arrivals), error=type(error).__name__)
        found: Mapping[UUID, State] = {}
        for pause in _LOOKS:
            await asyncio.sleep(pause)
            try:
                async with self._engine.connect() as connection:
                    found = await read_states(connection, [one.id for one in arrivals])
                break
            except DATABASE_TROUBLE:
                continue
        return {one.id: Stored(one.id, found[one.id]) if one.id in found else _not_stored() for one in arrivals}


def _named_account(fields: Mapping[str, object], caller: Caller) -> tuple[str, str | None]:
    """The name under which the account was given, and the account; that of a bound caller if none was."""
    for name in _ACCOUNT:
        value = fields.get(name)
        if isinstance(value, str) and value.strip():
            return name, value.strip()
    return _ACCOUNT[0], caller.bound_account


def _not_stored() -> NotStored:
    return NotStored("The database did not confirm that it has the disposition. Send it again.")


def _none_stored(arrivals: Sequence[Arrival], error: BaseException) -> dict[UUID, Stored | Exception]:
    log.warning("not stored", dispositions=len(arrivals), error=type(error).__name__)
    return {one.id: _not_stored() for one in arrivals}


def _receipt(arrival: Arrival, stored: Stored | Exception) -> Receipt | Exception:
    if isinstance(stored, Exception):
        return stored
    assert stored.state is not None
    return Receipt(stored.id, stored.state, arrival.new.account, arrival.new.ucid, stored.duplicate)
