"""Accounts under many hands: two people who set one up at the same moment."""

from __future__ import annotations

import asyncio

import psycopg
from deliveries import CUSTOMER, somebody_waits, url_of

from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.settings import Settings
from app.wiring import Services


async def test_an_account_that_somebody_else_makes_at_the_same_moment_is_changed(
    services: Services, settings: Settings
) -> None:
    wanted = AccountSettings(api_key=Secret("MINE"), max_in_flight=7)
    async with await psycopg.AsyncConnection.connect(url_of(settings)) as other:
        await other.execute(
            "WITH made AS (INSERT INTO accounts (customer, api_key, base_url) VALUES (%s, 'THEIRS', 'https://theirs') "
            "RETURNING id) INSERT INTO lanes (account_id) SELECT id FROM made",
            [CUSTOMER],
        )
        late = asyncio.create_task(services.accounts.set(CUSTOMER, wanted, actor="test"))
        await somebody_waits(services)
    account = await late
    assert (account.max_in_flight, account.revision, account.doubt) == (7, 2, "credentials")  # it has a new key
    assert account.base_url == "https://theirs"  # what was not said is left as it is, and no default
