"""``wrapup audit export``: everything that happened, for whoever checks it."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.cli.filters import From, To, filter_of
from app.cli.options import DataDir
from app.cli.printing import print_json
from app.cli.session import run
from app.wiring import Services

audit = typer.Typer(help="The audit trail: export.", no_args_is_help=True)


@audit.callback()
def _group() -> None:
    """Keeps `export` a subcommand while it is the only one."""


@audit.command()
def export(since: From = None, until: To = None, data_dir: DataDir = None) -> None:
    """Write every disposition with its attempts and events, the oldest first, as one line of JSON each."""
    wanted = filter_of({"from": since, "to": until})

    async def work(services: Services) -> None:
        with _progress() as progress:
            counting = progress.add_task("dispositions")
            async for one in services.reports.export(wanted):
                print_json(one)
                progress.advance(counting)

    run(work, data_dir)


def _progress() -> Progress:
    """A count on stderr, if that is a terminal and the lines go elsewhere."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.completed} {task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty() or sys.stdout.isatty(),
    )
