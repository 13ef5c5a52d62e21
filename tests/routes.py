"""Every route of a router, for tests that look at all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def routes(parent: Any) -> Iterator[tuple[str, str]]:
    """Method and path of each route, those of included routers too."""
    for route in parent.routes:
        if included := getattr(route, "original_router", None):
            yield from routes(included)
        else:
            yield from ((method, route.path_format) for method in route.methods)
