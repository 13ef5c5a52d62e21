"""What it costs to look, at ten thousand dispositions and at a million: ``make bench-pages``.

Each address is asked of the application itself, in this process, without a network. The database is as durable as in
production, filled in SQL with a realistic mix, and vacuumed. Printed are medians of the server's time in ms, and the
ratio to the same with 10,000 dispositions.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
from cryptography.fernet import Fernet

from app.embedded.postgres import EmbeddedPostgres
from app.embedded.valkey import EmbeddedValkey
from app.services.keys import Scope
from app.settings import Settings
from app.storage import failures, schema, upkeep
from app.web.main import create_app
from app.wiring import Services, open_services
from tests.benchmarks.crowd import fill

SMALL = 10_000
ROUNDS = 25
HIGHEST_RATIO = 2.0

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
    "DID": "/v1/dispositions?did=918010000003",
    "code": "/v1/dispositions?disposition=Sle1",
    "reference": "/v1/dispositions?reference=deal-{number}",
    "UCID": "/v1/dispositions?ucid={ucid}",
    "source": "/v1/dispositions?source=hubspot",
    "a day a month ago": "/v1/dispositions?from=31d&to=30d",
    "search agent": "/v1/dispositions?q=a7",
    "search UCID": "/v1/dispositions?q={ucid}",
    "search words": "/v1/dispositions?q=is+locked",
    "search nothing": "/v1/dispositions?q=nothing+like+it",
    "stats": "/v1/stats",
    "failures": "/v1/failures",
    "audit": "/v1/audit",
    "audit by action": "/v1/audit?action=account+held",
    "audit of a client": "/v1/audit?actor=client:crm-2",
    "audit of a subject": "/v1/audit?subject=account:account-2",
    "audit, a day": "/v1/audit?from=31d&to=30d",
    "audit of a stranger": "/v1/audit?actor=client:stranger",
}


async def measure(database_url: str, broker_url: str, number: int, options: argparse.Namespace) -> dict[str, float]:
    """The median of each address, in ms."""
    secret = Fernet.generate_key().decode()
    settings = Settings(database_url=database_url, broker_url=broker_url, secret_keys=secret, client_rate=0)
    async with open_services(settings, name="bench") as services:
        await schema.upgrade(services.engine)
        key = await services.keys.create("bench", [*Scope])
        begun = time.perf_counter()
        await asyncio.to_thread(fill, database_url, number)
        await _fold(services)
        print(f"{number:,} dispositions filled in {time.perf_counter() - begun:.0f} s", flush=True)
    api = create_app(settings)
    async with api.router.lifespan_context(api):
        transport = httpx.ASGITransport(api)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://bench", headers=headers) as client:
            return {name: await _median(client, address, number, options) for name, address in ADDRESSES.items()}


async def _fold(services: Services) -> None:
    async with services.engine.begin() as connection:
        await upkeep.fold_counts(connection)
        await failures.fold(connection)


async def _median(client: httpx.AsyncClient, address: str, number: int, options: argparse.Namespace) -> float:
    middle = number // 2 // 2 * 2  # every other one has a reference
    path = address.format(number=middle, ucid=2 * 10**15 + middle)
    taken = []
    for _ in range(options.rounds + 3):
        begun = time.perf_counter()
        answer = await client.get(path)
        taken.append((time.perf_counter() - begun) * 1000)
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status_code} {answer.text}")
    return statistics.median(taken[3:])  # the first ones plan and prepare


def at_size(number: int, options: argparse.Namespace) -> dict[str, float]:
    """The medians with so many dispositions, in servers of their own."""
    with tempfile.TemporaryDirectory(prefix="wrapup-bench-", ignore_cleanup_errors=True) as folder:
        postgres, valkey = EmbeddedPostgres(Path(folder)), EmbeddedValkey(Path(folder))
        postgres.start()
        valkey.start()
        try:
            return asyncio.run(measure(postgres.url, valkey.url, number, options))
        finally:
            valkey.stop()
            postgres.stop()


def main() -> None:
    """Measures and prints."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--five-million", action="store_true", help="5,000,000 dispositions in place of 1,000,000")
    arguments.add_argument("--number", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    options = arguments.parse_args()
    number = 5_000_000 if options.five_million else options.number
    small, large = at_size(SMALL, options), at_size(number, options)
    print(f"\n| ms, median of {options.rounds} | {SMALL:,} | {number:,} | ratio |\n|---|---|---|---|")
    for name in ADDRESSES:
        ratio = large[name] / small[name]
        mark = " **" if ratio > HIGHEST_RATIO else ""
        print(f"| {name} | {small[name]:.1f} | {large[name]:.1f} | {ratio:.2f}{mark} |")
    above = [name for name in ADDRESSES if large[name] / small[name] > HIGHEST_RATIO]
    print(f"\nAbove a ratio of {HIGHEST_RATIO:g}: {', '.join(above) or 'none'}")


if __name__ == "__main__":
    main()
