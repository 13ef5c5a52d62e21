"""The usual delivery as a task of procrastinate: ``procrastinate --app tests.benchmarks.usual_procrastinate.app …``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from functools import cache

import procrastinate

from tests.benchmarks import usual

_url = os.environ["BENCH_DATABASE_URL"]
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=_url, max_size=10))
_until_the_end = ExitStack()


@app.task(name="deliver", queue="usual")
def deliver(disposition_id: str) -> None:
    """One disposition. A synchronous task runs in a thread."""
    usual.deliver(disposition_id)


@cache
def _open() -> procrastinate.App:
    """For a process that hands jobs over and runs none: synchronous, and open until it ends."""
    _until_the_end.enter_context(app.replace_connector(procrastinate.SyncPsycopgConnector(conninfo=_url)))
    return _until_the_end.enter_context(app.open())


def make_schema() -> None:
    """The tables of its queue."""
    _open().schema_manager.apply_schema()


def enqueue(ids: Iterable[str]) -> None:
    """A job for each."""
    _open()
    deliver.batch_defer(*({"disposition_id": one} for one in ids))
