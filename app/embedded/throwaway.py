"""A PostgreSQL and a Valkey for the length of a test run: quick to start, and gone without a trace."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.embedded.postgres import EmbeddedPostgres
from app.embedded.processes import Child, wait_until_ready
from app.embedded.valkey import EmbeddedValkey


@dataclass(frozen=True, slots=True)
class ThrowawayServers:
    """Where the two are."""

    database_url: str
    broker_url: str


@contextmanager
def throwaway_servers() -> Iterator[ThrowawayServers]:
    """Both servers, running, in a temporary folder. To be entered in the main thread."""
    with tempfile.TemporaryDirectory(prefix="wrapup-test-", ignore_cleanup_errors=True) as folder:
        postgres = EmbeddedPostgres(Path(folder), durable=False)
        valkey = EmbeddedValkey(Path(folder), durable=False)
        postgres.prepare()
        children = [Child(postgres.command), Child(valkey.command)]
        try:
            wait_until_ready(children)
            yield ThrowawayServers(postgres.url, valkey.url)
        finally:
            for child in children:
                child.stop()
