"""Quick: what a browser loads once, and what the first page costs.

How long it takes, with a million rows and the database's part, ``make bench-pages`` measures: a test must not go by how
busy the machine is. So this counts the CPU of the process, in which both the pages and their visitor run.
"""

from __future__ import annotations

import time
from pathlib import Path

from deliveries import ucid
from visitors import Pages, fail

from app.services.users import Role
from app.web import dashboard

MOST_BYTES = 40_000
MOST_SECONDS = 0.05


def test_style_and_script_are_small_together() -> None:
    folder = Path(dashboard.__file__).parent / "static"
    sizes = [path.stat().st_size for path in folder.iterdir() if path.suffix in (".css", ".js")]
    assert len(sizes) == 2
    assert sum(sizes) < MOST_BYTES


async def test_the_first_page_costs_little(pages: Pages) -> None:
    for number in range(10):
        await fail(pages, ucid(number), agent_id=f"x{number}")
    visitor = await pages.user(Role.ADMIN)
    cost = []
    for _ in range(10):  # the first one reads the templates
        began = time.process_time()
        assert (await visitor.get("/")).status_code == 200
        cost.append(time.process_time() - began)
    assert min(cost) < MOST_SECONDS
