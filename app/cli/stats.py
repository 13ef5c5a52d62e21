"""``wrapup stats``: how many stand where, how long the oldest waits, and how fast it goes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.cli.options import AsJson, DataDir
from app.cli.printing import cell, console, print_json, table
from app.cli.session import run
from app.domain.lifecycle import State
from app.services.keys import OPERATOR
from app.wiring import Services

_EVERY = 1.0  # seconds


def stats(
    watch: Annotated[bool, typer.Option("--watch", help="Again each second, until Ctrl-C.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Count dispositions by state, cause and account.

    With --watch and --json: one line of JSON a second.
    """
    if not watch:
        run(_print_json if as_json else _print, data_dir)
        return
    # A shell has what it runs in the background ignore the interrupt. Here it is the only way to leave.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        run(_watch_json if as_json else _watch, data_dir)


async def _print(services: Services) -> None:
    console().print(_tables(await services.reports.stats(OPERATOR)))


async def _print_json(services: Services) -> None:
    print_json(await services.reports.stats(OPERATOR))


async def _watch_json(services: Services) -> None:
    while True:
        print_json(await services.reports.stats(OPERATOR), flush=True)
        await asyncio.sleep(_EVERY)


async def _watch(services: Services) -> None:
    screen = console()
    if not screen.is_terminal:
        while True:
            screen.print(_tables(await services.reports.stats(OPERATOR)))
            await asyncio.sleep(_EVERY)
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            live.update(_tables(await services.reports.stats(OPERATOR)), refresh=True)
            await asyncio.sleep(_EVERY)


def _tables(found: Mapping[str, Any]) -> RenderableType:
    rates = ", ".join(f"{rate:g} {state}" for state, rate in found["rates_per_minute"].items())
    return Group(
        Text(f"{cell(found['at'])}   oldest due: {_age(found['oldest_due_seconds'])}   a minute: {rates}\n"),
        _accounts(found),
        Text(),
        *(_counts(title, found[name]) for title, name in (("failed by cause", "causes"), ("attempts", "outcomes"))),
    )


def _accounts(found: Mapping[str, Any]) -> Table:
    """A line for each account, and one for all."""
    rows = table("account", *State)
    for column in rows.columns[1:]:
        column.justify = "right"
    for name, counts in found["accounts"].items():
        rows.add_row(cell(name), *(str(counts.get(state, 0)) for state in State))
    rows.add_row("all", *(str(found["states"].get(state, 0)) for state in State), style="bold")
    return rows


def _counts(title: str, counts: Mapping[str, int]) -> RenderableType:
    if not counts:
        return Text(f"{title}: none")
    return Text(f"{title}: " + ", ".join(f"{number} {cell(name)}" for name, number in counts.items()))


def _age(seconds: float) -> str:
    """Of the oldest, short: 4 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
