"""What it costs to look, at ten thousand dispositions and at a million: ``make bench-pages``.

Each address is asked of the application itself, in this process, without a network. The database is as durable as in
production, filled in SQL with a realistic mix, and vacuumed. Printed are medians of the server's time in ms, and the
ratio to the same with 10,000 dispositions.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
from cryptography.fernet import Fernet

from app.embedded.postgres import EmbeddedPostgres
from app.embedded.valkey import EmbeddedValkey
from app.secrets import Secret
from app.services.keys import Scope
from app.services.users import Role
from app.settings import Settings
from app.storage import failures, schema, upkeep
from app.web.dashboard.visitors import COOKIE
from app.web.main import create_app
from app.wiring import Services, open_services
from tests.benchmarks.crowd import fill

SMALL = 10_000
ROUNDS = 25
HIGHEST_RATIO = 2.0
SLOWEST_PAGE = 50  # ms, of a page of the dashboard

# What is asked, under the name that is printed. {ucid} and {number} lie in the middle of what was filled.
ADDRESSES: Mapping[str, str] = {
    "newest": "/v1/dispositions",
    "state failed": "/v1/dispositions?state=failed",
    "state retrying": "/v1/dispositions?state=retrying",
    "state cancelled": "/v1/dispositions?state=cancelled",
    "account": "/v1/dispositions?account=account-3",
    "account and state": "/v1/dispositions?account=account-3&state=failed",
    "cause": "/v1/dispositions?cause=refused",
    "agent": "/v1/dispositions?agent_id=a7",
    "agent nobody has": "/v1/dispositions?agent_id=nobody",
    "agent and state": "/v1/dispositions?agent_id=a7&state=failed",
    "agent, code, state": "/v1/dispositions?agent_id=a7&disposition=Sale&state=delivered",
    "agent and code": "/v1/dispositions?agent_id=a7&disposition=Sale",
    "agent and old code": "/v1/dispositions?agent_id=late&disposition=Old+code",
    "agent and DID": "/v1/dispositions?agent_id=a7&did=918010000004",
    "agent and source": "/v1/dispositions?agent_id=a7&source=hubspot",
    "rare agent and code": "/v1/dispositions?agent_id=rare&disposition=Sale",
    "account, agent, cause": "/v1/dispositions?account=account-3&agent_id=a7&cause=refused",
    "agent, cancelled": "/v1/dispositions?agent_id=a7&state=cancelled",
    "DID": "/v1/dispositions?did=918010000003",
    "code": "/v1/dispositions?disposition=Sle1",
    "DID and code": "/v1/dispositions?did=918010000003&disposition=Sale",
    "DID, cancelled": "/v1/dispositions?did=918010000003&state=cancelled",
    "DID and cause": "/v1/dispositions?did=918010000003&cause=refused",
    "code and source": "/v1/dispositions?disposition=No+sale&source=hubspot",
    "code, failed": "/v1/dispositions?disposition=Voice+mail&state=failed",
    "code, superseded": "/v1/dispositions?disposition=Sale&state=superseded",
    "code, DID, a month": "/v1/dispositions?disposition=Sale&did=918010000003&from=31d",
    "reference": "/v1/dispositions?reference=deal-{number}",
    "UCID": "/v1/dispositions?ucid={ucid}",
    "source": "/v1/dispositions?source=hubspot",
    "source, superseded": "/v1/dispositions?source=hubspot&state=superseded",
    "a day a month ago": "/v1/dispositions?from=31d&to=30d",
    "search agent": "/v1/dispositions?q=a7",
    "search agent, cancelled": "/v1/dispositions?q=a7&state=cancelled",
    "search code, and DID": "/v1/dispositions?q=Sale&did=918010000003",
    "search UCID": "/v1/dispositions?q={ucid}",
    "search words": "/v1/dispositions?q=is+locked",
    "search words, of an agent": "/v1/dispositions?q=is+locked&agent_id=a9",
    "search nothing": "/v1/dispositions?q=nothing+like+it",
    "stats": "/v1/stats",
    "failures": "/v1/failures",
    "audit": "/v1/audit",
    "audit by action": "/v1/audit?action=account+held",
    "audit of a client": "/v1/audit?actor=client:crm-2",
    "audit of a subject": "/v1/audit?subject=account:account-2",
    "audit, a day": "/v1/audit?from=31d&to=30d",
    "audit of people": "/v1/audit?people=true",
    "audit of a stranger": "/v1/audit?actor=client:stranger",
    "page: overview": "/",
    "page: failures": "/failures",
    "page: list": "/dispositions",
    "page: failed of an agent": "/dispositions?agent_id=a7&state=failed",
    "page: never together": "/dispositions?did=918010000003&disposition=Sale",
    "page: accounts": "/accounts",
    "page: replays": "/replays",
    "page: audit": "/audit",
}


@asynccontextmanager
async def crowded(number: int) -> AsyncIterator[httpx.AsyncClient]:
    """The application on servers of its own, with so many dispositions; who asks may see all."""
    with (
        tempfile.TemporaryDirectory(prefix="wrapup-bench-", ignore_cleanup_errors=True) as folder,
        ExitStack() as stack,
    ):
        postgres, valkey = EmbeddedPostgres(Path(folder)), EmbeddedValkey(Path(folder))
        for server in (postgres, valkey):
            server.start()
            stack.callback(server.stop)
        encrypting = Fernet.generate_key().decode()
        settings = Settings(database_url=postgres.url, broker_url=valkey.url, secret_keys=encrypting, client_rate=0)
        async with open_services(settings, name="bench") as services:
            await schema.upgrade(services.engine)
            key = await services.keys.create("bench", [*Scope])
            password = Secret(secrets.token_urlsafe(16))
            await services.users.create("bench", Role.ADMIN, password=password)
            session = await services.sessions.sign_in("bench", password, address="bench")
            begun = time.perf_counter()
            await asyncio.to_thread(fill, postgres.url, number)
            await _fold(services)
            print(f"{number:,} dispositions filled in {time.perf_counter() - begun:.0f} s", flush=True)
        api = create_app(settings)
        headers = {"Authorization": f"Bearer {key}", "Cookie": f"{COOKIE}={session}"}
        async with (
            api.router.lifespan_context(api),
            httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://bench", headers=headers) as client,
        ):
            yield client


async def _fold(services: Services) -> None:
    async with services.engine.begin() as connection:
        await upkeep.fold_counts(connection)
        await failures.fold(connection)


async def _ask(client: httpx.AsyncClient, address: str, number: int) -> float:
    """The time of one answer, in ms."""
    middle = number // 2 // 2 * 2  # every other one has a reference
    path = address.format(number=middle, ucid=2 * 10**15 + middle)
    begun = time.perf_counter()
    answer = await client.get(path)
    taken = (time.perf_counter() - begun) * 1000
    if answer.status_code != 200:
        raise SystemExit(f"{path}: {answer.status_code} {answer.text}")
    return taken


async def compare(number: int, rounds: int) -> None:
    """Asks both in turn, so that whatever else the machine does is the same for both, and prints."""
    above, slow = [], []
    async with crowded(SMALL) as few, crowded(number) as many:
        print(f"\n| ms, median of {rounds} | {SMALL:,} | {number:,} | ratio |\n|---|---|---|---|")
        for name, address in ADDRESSES.items():
            taken = [(await _ask(few, address, SMALL), await _ask(many, address, number)) for _ in range(rounds + 3)]
            # The first ones plan and prepare.
            small, large = (statistics.median(series) for series in zip(*taken[3:], strict=True))
            if large / small > HIGHEST_RATIO:
                above.append(name)
            if name.startswith("page:") and large > SLOWEST_PAGE:
                slow.append(name)
            print(f"| {name} | {small:.1f} | {large:.1f} | {large / small:.2f} |", flush=True)
    print(f"\nAbove a ratio of {HIGHEST_RATIO:g}: {', '.join(above) or 'none'}")
    print(f"Pages above {SLOWEST_PAGE} ms: {', '.join(slow) or 'none'}")
    if above or slow:
        raise SystemExit(1)


def main() -> None:
    """Measures and prints."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--five-million", action="store_true", help="5,000,000 dispositions in place of 1,000,000")
    arguments.add_argument("--number", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    options = arguments.parse_args()
    asyncio.run(compare(5_000_000 if options.five_million else options.number, options.rounds))


if __name__ == "__main__":
    main()
