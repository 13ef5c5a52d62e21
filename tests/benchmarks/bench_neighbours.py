"""What accounts notice of each other: ``make bench-neighbours``.

1. Some accounts hang on every call for the whole deadline (10 s), 10,000 dispositions waiting for each of them; another
   one has light load: from its acceptance to CloudAgent's receipt, with API, worker and scheduler as in production.
2. Two hundred accounts with unequal backlogs: when those with the same need are done, and how much the others get.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import time
from collections.abc import Mapping, Sequence

import psycopg

from tests.benchmarks import backlog, deliverers, light_load
from tests.benchmarks.place import Place, opened

_WAITING = 10_000

# Accounts and what waits for each of them.
_UNEQUAL: Mapping[int, int] = {100: 20, 60: 100, 40: 500}


def main() -> None:
    """Measures and prints."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--hanging", type=int, nargs="*", default=[0, 1, 4, 20, 40], help="accounts that hang")
    arguments.add_argument("--lone", type=int, default=400, help="dispositions of the other account")
    arguments.add_argument("--rounds", type=int, default=3, help="of the unequal backlogs")
    options = arguments.parse_args()
    print("| accounts that hang | p50 ms | p99 ms | longest ms |\n|---|---|---|---|")
    for hanging in options.hanging:
        with opened(accounts=1 + hanging) as place, socket.create_server(("127.0.0.1", 0), backlog=4096) as silent:
            took = beside(place, hanging, silent.getsockname()[1], options.lone)
        p50, p99 = (took[int(len(took) * share)] for share in (0.5, 0.99))
        print(f"| {hanging} | {p50:.1f} | {p99:.1f} | {took[-1]:.1f} |", flush=True)
    for _ in range(options.rounds):
        with opened(accounts=sum(_UNEQUAL)) as place:
            place.upstream("/latency/50")
            unequal(place)


def beside(place: Place, hanging: int, port: int, number: int) -> Sequence[float]:
    """The delays of the first account, in ms, sorted, while so many others call an address that never answers."""
    silent = {f"bench-{one}": _WAITING for one in range(1, hanging + 1)}
    with psycopg.connect(place.database_url) as connection:
        # Not by the service: that would have the new address tried by a single call first.
        url = f"http://127.0.0.1:{port}"
        connection.execute("UPDATE accounts SET base_url = %s WHERE customer = ANY(%s)", (url, list(silent)))
    backlog.fill_each(place.database_url, silent)
    return light_load.wrapup(place, number)


def unequal(place: Place) -> None:
    """One round on unequal backlogs, until those with the least are done."""
    sizes = [size for accounts, size in _UNEQUAL.items() for _ in range(accounts)]
    waiting = {f"bench-{number}": size for number, size in enumerate(sizes)}
    least = min(sizes)
    with deliverers.wrapup(place) as programs:
        backlog.fill_each(place.database_url, waiting)
        began = time.time()
        deliverers.ring(place)
        left = f"SELECT count(*) FROM dispositions WHERE finished_at IS NULL AND account_id <= {sizes.count(least)}"
        programs[0].wait_for(lambda: place.ask(left) == 0, "the end of the small ones")
        with psycopg.connect(place.database_url) as connection:
            rows = connection.execute(
                "SELECT customer, count(*), extract(epoch FROM max(finished_at))::float8 FROM dispositions "
                "JOIN accounts ON accounts.id = account_id WHERE state = 'delivered' GROUP BY 1"
            ).fetchall()
    ends = sorted(last - began for customer, _, last in rows if waiting[customer] == least)
    got = sorted(n for customer, n, _ in rows if waiting[customer] > least)
    index = sum(got) ** 2 / (len(got) * sum(n * n for n in got))
    print(
        f"\n{len(ends)} accounts with {least} each were done after {ends[0]:.2f} / {statistics.median(ends):.2f} / "
        f"{ends[-1]:.2f} s (first / median / last); by then the {len(got)} with more had got {got[0]} / "
        f"{statistics.median(got):.0f} / {got[-1]} each, Jain's index {index:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
