"""Delivery against the stand-in: claim, call, classify, record."""

from __future__ import annotations

import asyncio

from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.keys import OPERATOR
from app.wiring import open_deliverer


async def test_smoke(services, settings):
    from app.sandbox import Sandbox

    async with Sandbox(api_key="sandbox-key") as sandbox:
        await services.accounts.set(
            "sandbox",
            AccountSettings(api_key=Secret("sandbox-key"), base_url=sandbox.url),
            actor="test",
        )
        receipt = await services.intake.accept(
            {
                "account": "sandbox",
                "ucid": "1234567890123456",
                "did": "918012345678",
                "agent_id": "a17",
                "disposition": "Sale",
            },
            OPERATOR,
        )
        print(receipt)
        async with open_deliverer(settings, kind="worker") as d:
            run = asyncio.create_task(d.pump.run())
            d.pump.wake()
            await asyncio.sleep(0.5)
            d.pump.stop()
            await run
        import pprint

        pprint.pprint(await services.reports.disposition(receipt.id, OPERATOR))
        pprint.pprint(await services.reports.stats(OPERATOR))
