"""``wrapup doctor``: is everything in place, and if not, what to do."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import typer

from app.cli.beside import settings_for
from app.cli.checks import Finding, examine
from app.cli.options import AsJsonLines, DataDir
from app.cli.printing import print_json, visible
from app.domain.errors import ConfigurationError
from app.logging import configure_logging


def doctor(data_dir: DataDir = None, as_json: AsJsonLines = False) -> None:
    """Check the whole installation: one line for each thing, and what to do about those that failed."""
    raise typer.Exit(0 if asyncio.run(_all_well(data_dir, as_json)) else 1)


async def _all_well(data_dir: DataDir, as_json: bool) -> bool:
    try:
        settings = settings_for(data_dir)
    except ConfigurationError as error:
        _print(Finding("settings", False, "wrong", str(error)), as_json)
        return False
    configure_logging("error", settings.log_format)
    _print(Finding("settings", True, f"data dir {settings.data_dir}"), as_json)
    well = True
    async for finding in examine(settings):
        _print(finding, as_json)
        well = well and finding.ok
    return well


def _print(finding: Finding, as_json: bool) -> None:
    if as_json:
        print_json(asdict(finding))
        return
    todo = f" -> {finding.todo}" if finding.todo else ""
    print(visible(f"{'ok    ' if finding.ok else 'failed'}  {finding.check}: {finding.found}{todo}"))
