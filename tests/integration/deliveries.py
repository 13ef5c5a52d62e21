"""What the tests of intake and delivery share: an account at the stand-in, something to say, a pump that runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from app.sandbox import Sandbox
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.intake import Receipt
from app.services.keys import OPERATOR, Caller
from app.settings import Settings
from app.wiring import Deliverer, Services, open_deliverer

CUSTOMER = "sandbox"
API_KEY = "KK0123456789abcdef"
UCID = "1234567890123456"


def ms(milliseconds: float) -> timedelta:
    return timedelta(milliseconds=milliseconds)


def ucid(number: int) -> str:
    """The UCID of the test's call with that number."""
    return str(int(UCID) + number)


def fields(ucid: str = UCID, **changes: object) -> dict[str, object]:
    """A request that is taken, but for the changes."""
    return {
        "account": CUSTOMER,
        "ucid": ucid,
        "did": "918012345678",
        "agent_id": "a17",
        "disposition": "Sale",
    } | changes


def url_of(settings: Settings) -> str:
    """The database's URL, in clear."""
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


async def open_account(
    services: Services, sandbox: Sandbox, customer: str = CUSTOMER, *, api_key: str = API_KEY, **settings: Any
) -> None:
    """Opens an account at the stand-in and here."""
    sandbox.account(customer, api_key=api_key)
    values = {"api_key": Secret(api_key), "base_url": sandbox.url} | settings
    await services.accounts.set(customer, AccountSettings(**values), actor="test")


async def accept(
    services: Services, ucid: str = UCID, *, caller: Caller = OPERATOR, key: str | None = None, **changes: object
) -> Receipt:
    """Posts a disposition; gives its receipt."""
    return await services.intake.accept(fields(ucid, **changes), caller, idempotency_key=key)


async def post(services: Services, ucid: str = UCID, **more: Any) -> UUID:
    """Posts a disposition; gives its id."""
    return (await accept(services, ucid, **more)).id


async def ask(services: Services, sql: str, **parameters: object) -> list[Row[Any]]:
    """The rows that a statement gives, committed."""
    async with services.engine.begin() as connection:
        result = await connection.execute(text(sql), parameters)
        return list(result.all()) if result.returns_rows else []


async def stored(services: Services) -> dict[UUID, str]:
    """The states of all dispositions."""
    return {row.id: row.state for row in await ask(services, "SELECT id, state FROM dispositions ORDER BY seq")}


async def show(services: Services, disposition_id: UUID) -> dict[str, Any]:
    """One disposition as the contract shows it."""
    return await services.reports.disposition(disposition_id, OPERATOR)


@asynccontextmanager
async def pumping(settings: Settings, *, kind: str = "worker") -> AsyncIterator[Deliverer]:
    """A pump that runs and was woken once; stopped at the end when its calls are over."""
    async with open_deliverer(settings, kind=kind) as deliverer:
        running = asyncio.create_task(deliverer.pump.run())
        deliverer.pump.wake()
        try:
            yield deliverer
        finally:
            deliverer.pump.stop()
            await running


async def until(condition: Callable[[], Awaitable[object]], *, seconds: float = 10) -> None:
    """Returns when the condition holds; looks every few milliseconds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  # the database has no event to wait for
            await asyncio.sleep(0.01)


async def somebody_waits(services: Services) -> None:
    """Returns when a statement waits for a lock that another one holds."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    await until(lambda: ask(services, waiting))


async def settle(services: Services, *deliverers: Deliverer, seconds: float = 10) -> None:
    """Wakes the pumps, as the scheduler would, until nothing waits that is not on hold, and nothing is under way."""

    async def settled() -> bool:
        for deliverer in deliverers:
            deliverer.pump.wake()
        [row] = await ask(
            services,
            "SELECT count(*) FROM dispositions d JOIN accounts a ON a.id = d.account_id "
            "WHERE finished_at IS NULL AND (hold_cause IS NULL OR state = 'sending')",
        )
        return row.count == 0

    await until(settled, seconds=seconds)


async def deliver(
    services: Services, settings: Settings, ids: Iterable[UUID], *, seconds: float = 10
) -> list[dict[str, Any]]:
    """Runs a pump until all is settled; gives these dispositions as they are then."""
    async with pumping(settings) as deliverer:
        await settle(services, deliverer, seconds=seconds)
    return [await show(services, one) for one in ids]
