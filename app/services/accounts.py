"""Accounts: set, held, released, looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.broker import Bell
from app.cloudagent.addresses import AddressPolicy, check_base_url, check_path
from app.cloudagent.client import FLAVOURS
from app.domain.callback_time import LateCallback
from app.domain.errors import ConfigurationError, Fault, InvalidInput, NotFound
from app.domain.refusals import quoted
from app.domain.replies import Outcome
from app.secrets import Cipher, Secret
from app.storage import accounts as account_rows
from app.storage import events, lanes, tokens
from app.storage.accounts import Account

DEFAULT_BASE_URL = "https://in1-ccaas-api.ozonetel.com"
HELD_BY_OPERATOR = "operator"

LOWEST_RATE = 0.001
"""Calls a second: one in a quarter of an hour. At the very small no date is far enough for the next call, and claiming
breaks, which is for all accounts."""

# Holds that say that the account was set up wrongly, so that setting it up anew may lift them.
_SET_UP_WRONGLY = frozenset({Outcome.AUTHENTICATION_FAILED, Outcome.MISCONFIGURED})
_MAKES_TOKENS = frozenset({"api_key", "base_url"})  # what CloudAgent's token of an account depends on


class Directory:
    """Which accounts there are, remembered: intake asks for each request."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._remembered: dict[str, int] = {}

    async def find(self, customer: str) -> int | None:
        """The account's id, or None. No account is ever deleted or renamed, so what is remembered stays right."""
        if (remembered := self._remembered.get(customer)) is not None:
            return remembered
        async with self._engine.connect() as connection:
            account = await account_rows.read(connection, customer)
        if account is None:
            return None
        self._remembered[customer] = account.id
        return account.id


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """What can be set of an account. None leaves a setting as it is, or at its default for a new account."""

    api_key: Secret | None = None
    base_url: str | None = None
    path: str | None = None
    api: str | None = None
    max_in_flight: int | None = None
    rate_per_second: float | None = None  # 0: no limit
    late_callback: str | None = None


class Accounts:
    """Sets up accounts and stops and starts their deliveries."""

    def __init__(self, engine: AsyncEngine, cipher: Cipher, bell: Bell, policy: AddressPolicy) -> None:
        self._engine = engine
        self._cipher = cipher
        self._bell = bell
        self._policy = policy

    async def set(self, customer: str, settings: AccountSettings, *, actor: str) -> Account:
        """Makes the account or changes it; raises ``InvalidInput`` with every fault.

        With a new apiKey or address one call goes first, as a probe, and the others follow if it is answered. That
        lifts a hold whose cause was the old one; an operator's hold stays.
        """
        faults = self._faults(customer, settings)
        async with self._engine.begin() as connection:
            account = await account_rows.read(connection, customer)
            if account is None and settings.api_key is None:
                faults.append(_fault("api_key", "is missing: a new account needs it (--api-key-stdin)."))
            if faults:
                raise InvalidInput(faults)
            values = self._values(settings)
            account_id = None
            if account is None:
                new = {"base_url": DEFAULT_BASE_URL, **values}
                if (account_id := await account_rows.create(connection, {"customer": customer, **new})) is not None:
                    values = new
            if account_id is None:  # it was there, or somebody else has made it at the same moment
                account_id = (await self._read(connection, customer)).id
                await lanes.lock(connection, [account_id])  # before the account's own row, as everybody does
                account = await self._read(connection, customer)
                await account_rows.change(connection, account_id, values)
            await self._tell(
                connection,
                account_id,
                customer,
                actor=actor,
                action="account changed" if account else "account created",
                reason="set: " + ", ".join(sorted(values)),
            )
            if account is not None and (anew := self._anew(account, settings)):
                await lanes.doubt(connection, account_id)
                if _MAKES_TOKENS & set(anew):
                    await tokens.drop(connection, account_id)
                if account.hold_cause in _SET_UP_WRONGLY and await account_rows.release(connection, account_id):
                    reason = f"new: {', '.join(anew)}"
                    await self._tell(
                        connection, account_id, customer, actor=actor, action="account released", reason=reason
                    )
            changed = await account_rows.read(connection, customer)
        assert changed is not None
        self._bell.ring()
        return changed

    async def hold(self, customer: str, *, actor: str, reason: str | None = None) -> Account:
        """Stops the account's deliveries at once; they wait. Holding it twice changes nothing."""
        async with self._engine.begin() as connection:
            account = await self._read(connection, customer)
            held = await account_rows.hold(connection, account.id, cause=HELD_BY_OPERATOR, reason=reason)
            if held:
                await self._tell(connection, account.id, customer, actor=actor, action="account held", reason=reason)
            return await self._read(connection, customer)

    async def release(self, customer: str, *, actor: str, reason: str | None = None) -> Account:
        """Lets the account's deliveries go on, one as a probe first. Releasing what is not held changes nothing."""
        async with self._engine.begin() as connection:
            account = await self._read(connection, customer)
            await lanes.lock(connection, [account.id])
            if await account_rows.release(connection, account.id):
                await lanes.doubt(connection, account.id)
                await self._tell(
                    connection, account.id, customer, actor=actor, action="account released", reason=reason
                )
            released = await self._read(connection, customer)
        self._bell.ring()
        return released

    async def get(self, customer: str) -> Account:
        """One account; raises ``NotFound``."""
        async with self._engine.connect() as connection:
            return await self._read(connection, customer)

    async def all(self) -> list[Account]:
        """All accounts by name."""
        async with self._engine.connect() as connection:
            return await account_rows.read_all(connection)

    async def _read(self, connection: AsyncConnection, customer: str) -> Account:
        account = await account_rows.read(connection, customer)
        if account is None:
            raise no_account(customer)
        return account

    async def _tell(
        self,
        connection: AsyncConnection,
        account_id: int,
        customer: str,
        *,
        actor: str,
        action: str,
        reason: str | None,
    ) -> None:
        subject = f"account:{customer}"
        await events.tell(connection, actor=actor, action=action, subject=subject, account_id=account_id, reason=reason)

    def _anew(self, account: Account, settings: AccountSettings) -> list[str]:
        """Which of the settings that decide whether CloudAgent answers are not what they were."""
        anew = [
            name
            for name in ("base_url", "path", "api")
            if (value := getattr(settings, name)) is not None and value != getattr(account, name)
        ]
        if settings.api_key is not None and not self._is_current(account, settings.api_key):
            anew.append("api_key")
        return anew

    def _is_current(self, account: Account, api_key: Secret) -> bool:
        try:
            return self._cipher.decrypt(account.api_key).reveal() == api_key.reveal()
        except ConfigurationError:
            return False  # it can't have been sent, so whatever comes now is new

    def _values(self, settings: AccountSettings) -> dict[str, Any]:
        """The columns that the settings change."""
        plain: Mapping[str, Any] = {
            "base_url": settings.base_url,
            "path": settings.path,
            "api": settings.api,
            "max_in_flight": settings.max_in_flight,
            "late_callback": settings.late_callback,
        }
        values = {name: value for name, value in plain.items() if value is not None}
        if settings.api_key is not None:
            values["api_key"] = self._cipher.encrypt(settings.api_key)
        if settings.rate_per_second is not None:
            values["rate_per_second"] = settings.rate_per_second or None
        return values

    def _faults(self, customer: str, settings: AccountSettings) -> list[Fault]:
        faults: list[Fault] = []
        rate, most = settings.rate_per_second, settings.max_in_flight
        if not customer.strip() or customer != customer.strip() or len(customer) > 100 or not customer.isprintable():
            faults.append(_fault("customer", "must be CloudAgent's user name: 1 to 100 visible characters."))
        if settings.api_key is not None and not _is_key(settings.api_key):
            faults.append(_fault("api_key", "must have 1 to 500 characters, no spaces, no control characters."))
        if settings.api is not None and settings.api not in FLAVOURS:
            faults.append(_fault("api", f"is {settings.api!r}; there are: {', '.join(FLAVOURS)}."))
        if most is not None and not 1 <= most <= 10_000:
            faults.append(_fault("max_in_flight", f"is {most}; it must be between 1 and 10000."))
        if rate is not None and rate != 0 and not LOWEST_RATE <= rate <= 100_000:
            allowed = f"0 (no limit), or between {LOWEST_RATE:g} and 100000"
            faults.append(_fault("rate_per_second", f"is {rate:g}; it must be {allowed}."))
        if settings.late_callback is not None and settings.late_callback not in set(LateCallback):
            known = ", ".join(LateCallback)
            faults.append(_fault("late_callback", f"is {quoted(settings.late_callback)}; there are: {known}."))
        for value, check in ((settings.base_url, self._check_url), (settings.path, check_path)):
            if value is not None:
                try:
                    check(value)
                except InvalidInput as error:
                    faults.extend(error.faults)
        return faults

    def _check_url(self, url: str) -> None:
        check_base_url(url, self._policy)


def no_account(customer: str) -> NotFound:
    """The error for an account that is not there, and for one that is not the caller's: both read alike."""
    return NotFound(f"There is no account {quoted(customer)}. `wrapup accounts list` shows those there are.")


def _fault(field: str, message: str) -> Fault:
    return Fault(field, f"{field} {message}")


def _is_key(secret: Secret) -> bool:
    text = secret.reveal()
    return 0 < len(text) <= 500 and text.isprintable() and not any(character.isspace() for character in text)
