"""``wrapup worker`` and ``wrapup scheduler``: this process becomes one of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import app
from app.cli.beside import environment, settings_for
from app.cli.options import DataDir
from app.settings import Settings

# Celery lets these go before what it is told in the code. Where they are set, they are another program's.
_CELERYS_OWN = frozenset({"BROKER_URL", "CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"})


def worker(
    processes: Annotated[
        int | None, typer.Option(min=1, help="Child processes that deliver. Else one for each CPU, 2 at least.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Run a worker, which calls CloudAgent, until SIGTERM or Ctrl-C."""
    settings = settings_for(data_dir)
    options = [
        *("--loglevel", settings.log_level),
        *("--pool", "prefork"),
        *("-O", "fair"),
        # Workers need to know nothing of each other: the database tells each what to do.
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]
    if processes is not None:
        options += ["--concurrency", str(processes)]
    # Celery puts the folder that it runs in before all others, and one named app there is not ours.
    ours = str(Path(app.__file__).parents[1])
    _become(settings, "celery", "--workdir", ours, "--quiet", "-A", "workers.celery_app", "worker", *options)


def scheduler(data_dir: DataDir = None) -> None:
    """Run a scheduler, which wakes workers and keeps time, until SIGTERM or Ctrl-C."""
    _become(settings_for(data_dir), "workers.scheduler")


def _become(settings: Settings, module: str, *words: str) -> NoReturn:
    """Runs a module in place of this process, on these very settings: its number and parent stay."""
    variables = {name: value for name, value in os.environ.items() if name not in _CELERYS_OWN}
    variables |= environment(settings)
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-P", "-m", module, *words], variables)  # noqa: S606
