"""What each part of a delivery costs, one after the other in one process: ``python -m tests.benchmarks.bench_parts``.

CPU of the worker's process and of PostgreSQL, a disposition. In groups, as under load: claims and records of fifty.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import structlog
import uvloop

from app.cloudagent import v3_query
from app.cloudagent.client import CloudAgentClient
from app.cloudagent.credentials import Credentials
from app.cloudagent.request import Endpoint
from app.cloudagent.transport import CloudAgentTransport
from app.domain.replies import Answer, classify
from app.logging import configure_logging
from app.secrets import Cipher, Secret
from app.services.attempts import Ended, Record
from app.settings import Settings
from app.storage import calls
from app.storage.engine import make_engine
from app.wiring import address_policy
from tests.benchmarks import backlog
from tests.benchmarks.bench_transport import CALL
from tests.benchmarks.place import Place, opened
from tests.benchmarks.programs import cpu_seconds

_GROUP = 50
_GROUPS = 100
_NUMBER = _GROUP * _GROUPS
_ANSWER = Answer(
    http_status=200,
    body=b'{"status":" Success","details":"Disposition saved successfully"}',
    retry_after=None,
    content_type="application/json",
    latency_ms=5,
    too_large=False,
)
_VERDICT = classify(_ANSWER)


class Costs:
    """Adds up, part by part, in microseconds a disposition."""

    def __init__(self, postgres: int) -> None:
        self._postgres = postgres
        self._seconds: dict[str, list[float]] = {}

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """What the block costs is that part's."""
        worker, postgres = time.process_time(), cpu_seconds(self._postgres)
        yield
        spent = self._seconds.setdefault(part, [0.0, 0.0])
        spent[0] += time.process_time() - worker
        spent[1] += cpu_seconds(self._postgres) - postgres

    def report(self) -> None:
        """One table, as Markdown."""
        print("| part | worker µs | PostgreSQL µs |\n|---|---|---|")
        for part, seconds in self._seconds.items():
            worker, postgres = (one / _NUMBER * 1e6 for one in seconds)
            print(f"| {part} | {worker:.1f} | {postgres:.0f} |")


def repeat(what: Callable[[], object]) -> None:
    """Once for each disposition."""
    for _ in range(_NUMBER):
        what()


async def measure(place: Place) -> None:
    """Everything that one delivery consists of."""
    settings = place.settings
    costs = Costs(place.postgres_pid())
    engine = make_engine(place.database_url, name="bench", by_keys=True)
    record = Record(engine, settings.retry_policy, settings.lane_policy, name="bench", jitter=lambda: 0.5)
    for _ in range(_GROUPS):
        with costs.of("claim, with the attempt's row and COMMIT"):
            async with engine.begin() as connection:
                claim = await calls.claim(connection, room=_GROUP, most=_GROUP, lease=settings.lease, worker="bench")
        if len(claim.deliveries) != _GROUP:
            raise SystemExit(f"{len(claim.deliveries)} were claimed, not {_GROUP}")
        with costs.of("record: attempt, state, event, lease, COMMIT"):
            await asyncio.gather(*(record.add(Ended(delivery, _VERDICT)) for delivery in claim.deliveries))
    await engine.dispose()
    cipher = Cipher(settings.require_secret_keys())
    token = cipher.encrypt(Secret("K" * 34))
    endpoint = Endpoint(f"http://127.0.0.1:{place.upstream_port}", "v3-query")
    credentials = Credentials(Secret("K" * 34))
    with costs.of("decrypt the apiKey"):
        repeat(lambda: cipher.decrypt(token))
    with costs.of("build the request"):
        repeat(lambda: v3_query.build(endpoint, credentials, CALL))
    await _call(settings, endpoint, credentials, costs)
    with costs.of("classify the reply"):
        repeat(lambda: classify(_ANSWER))
    log = structlog.get_logger("bench")
    with costs.of("log a line"):
        repeat(
            lambda: log.info(
                "attempt ended", disposition=CALL.request_id, account="acme", attempt=1, outcome="saved", latency_ms=5
            )
        )
    costs.report()


async def _call(settings: Settings, endpoint: Endpoint, credentials: Credentials, costs: Costs) -> None:
    client = CloudAgentClient(CloudAgentTransport(address_policy(settings), max_idle=_GROUP))

    async def some(number: int) -> None:
        for _ in range(number):
            await client.dispose(endpoint, credentials, CALL, deadline=10)

    await asyncio.gather(*(some(1) for _ in range(_GROUP)))  # connections are made
    with costs.of("call, the request's building included"):
        await asyncio.gather(*(some(_GROUPS) for _ in range(_GROUP)))
    await client.aclose()


def main() -> None:
    """Measures and prints."""
    with Path(os.devnull).open("w") as nowhere, opened(accounts=10) as place:
        with redirect_stderr(nowhere):  # where the log goes from now on
            configure_logging("info", "json")
        place.upstream("/latency/5")
        backlog.fill(place.database_url, _NUMBER)
        uvloop.run(measure(place))


if __name__ == "__main__":
    main()
