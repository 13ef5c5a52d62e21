"""From acceptance to CloudAgent's receipt while there is little to do: one disposition every so often."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from http.client import HTTPConnection

import psycopg

from app.wiring import open_services
from tests.benchmarks import backlog, deliverers
from tests.benchmarks.deliverers import Rival
from tests.benchmarks.place import Place
from tests.benchmarks.programs import Program

_MEAN_PAUSE = 0.05  # seconds; drawn anew each time, so that nothing falls in step with anybody's timer
_FIRST = 3 * 10**15


def wrapup(place: Place, number: int) -> list[float]:
    """Delays in ms, with API, worker and scheduler as they are run in production."""
    with ExitStack() as stack:
        stack.enter_context(deliverers.wrapup(place))
        post = stack.enter_context(_api(place))
        return _delays(place, number, post, "dispositions")


def rival(rival: Rival, place: Place, number: int) -> list[float]:
    """Delays in ms: a row is stored, its COMMIT answered, then its job handed over."""
    with rival.running(place) as programs, psycopg.connect(place.database_url, autocommit=True) as connection:

        def post(ucid: str) -> None:
            rival.enqueue([backlog.store_usual(connection, ucid)])

        before = place.calls()
        post(str(_FIRST + random.randrange(10**12) * 100))
        programs[0].wait_for(lambda: place.calls() > before, "the first delivery")
        return _delays(place, number, post, "usual_dispositions")


def _delays(place: Place, number: int, post: Callable[[str], None], table: str) -> list[float]:
    """Posts, waits for all of it, and compares when each was stored with when it came to CloudAgent."""
    place.upstream("/watch")
    first = _FIRST + random.randrange(10**12) * 100
    ucids = [str(first + one) for one in range(number)]
    for ucid in ucids:
        post(ucid)
        time.sleep(random.expovariate(1 / _MEAN_PAUSE))
    give_up = time.monotonic() + 30
    while len(arrivals := place.upstream("/arrivals")) < number:
        if time.monotonic() > give_up:
            raise SystemExit(f"of {number} dispositions {len(arrivals)} were delivered")
        time.sleep(0.1)
    with psycopg.connect(place.database_url) as connection:
        rows = connection.execute(f"SELECT ucid, created_at FROM {table} WHERE ucid = ANY(%s)".encode(), (ucids,))
        stored: dict[str, datetime] = dict(rows.fetchall())
    return sorted((arrivals[ucid] - stored[ucid].timestamp()) * 1000 for ucid in ucids)


@contextmanager
def _api(place: Place) -> Iterator[Callable[[str], None]]:
    """Posts a disposition to an API of its own."""
    api = Program("app.cli", "api", "--port", "0", env=place.env)
    try:
        api.wait_for(lambda: '"port": ' in api.said, "the API's start")
        port = int(api.said.partition('"port": ')[2].partition(",")[0])
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Authorization": f"Bearer {asyncio.run(_new_key(place))}", "Content-Type": "application/json"}

        def post(ucid: str) -> None:
            call = {"account": "bench-0", "ucid": ucid, "did": "918012345678", "agent_id": "a17", "disposition": "Sale"}
            connection.request("POST", "/v1/dispositions", json.dumps(call), headers)
            answer = connection.getresponse()
            if answer.status != 202:
                raise SystemExit(f"the API answered {answer.status}: {answer.read().decode()}")
            answer.read()

        yield post
    finally:
        api.stop()


async def _new_key(place: Place) -> str:
    async with open_services(place.settings, name="bench") as services:
        return await services.keys.create(f"bench-{time.time_ns()}", ["submit"])
