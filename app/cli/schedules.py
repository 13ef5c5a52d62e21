"""``wrapup schedules``: replays that recur."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer

from app.cli.options import AsJson, DataDir, Reason
from app.cli.printing import cell, console, print_json, table, visible
from app.cli.session import run
from app.domain.errors import InvalidInput
from app.domain.filters import Filter, parse_filter
from app.domain.schedules import READY_MADE, Overlap
from app.services.keys import OPERATOR
from app.wiring import Services

schedules = typer.Typer(help="Replays that recur.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(show_default=False)]


@schedules.command("list")
def list_schedules(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List schedules with their next times."""
    found = run(lambda services: services.schedules.all(OPERATOR), data_dir)
    if as_json:
        print_json(found)
        return
    rows = table("name", "when", "time zone", "overlap", "next", "")
    for one in found:
        coming = one["next_times"][0] if one["next_times"] else None
        shown = (one["name"], _when(one), one["time_zone"], one["overlap"], coming, "paused" if one["paused"] else None)
        rows.add_row(*map(cell, shown))
    console(wide=True).print(rows)


@schedules.command("ready-made")
def list_ready_made(as_json: AsJson = False) -> None:
    """List ready-made schedules: `wrapup schedules create NAME --ready-made WHICH`."""
    if as_json:
        print_json([{"name": one.name, "about": one.about, "fields": one.fields} for one in READY_MADE])
        return
    rows = table("ready-made", "when", "")
    for one in READY_MADE:
        rows.add_row(one.name, one.fields["cron"], one.about)
    console(wide=True).print(rows)


Cron = Annotated[str | None, typer.Option(help="Minute, hour, day, month, weekday: '30 2 * * *'")]
Every = Annotated[str | None, typer.Option(help="In place of --cron: 15m, 6h, 1d")]
Zone = Annotated[str | None, typer.Option(help="Whose wall clock --cron means. At first UTC")]
WhatIsDone = Annotated[
    str | None,
    typer.Option("--replay", help='What is done, as for the API: {"filter": {"state": "failed", "from": "24h"}}'),
]
WhenItOverlaps = Annotated[Overlap | None, typer.Option(help="While the run before is still sending. At first skip")]
CatchUp = Annotated[str | None, typer.Option(help="After downtime: later than this is missed. At first 1h")]


@schedules.command()
def create(
    name: Name,
    ready_made: Annotated[str | None, typer.Option(help="Begin with this one; what else is given goes on top.")] = None,
    cron: Cron = None,
    every: Every = None,
    time_zone: Zone = None,
    replay: WhatIsDone = None,
    overlap: WhenItOverlaps = None,
    catch_up: CatchUp = None,
    reason: Reason = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a schedule."""
    given = _given(cron, every, time_zone, replay, overlap, catch_up)
    begun = _ready_made(ready_made) if ready_made else {}
    if every is not None:
        begun = {key: value for key, value in begun.items() if key != "cron"}
    asked = {**begun, **given, "name": name, "reason": reason}
    _show(lambda services: services.schedules.create(asked, OPERATOR), data_dir, as_json)


@schedules.command()
def change(
    name: Name,
    cron: Cron = None,
    every: Every = None,
    time_zone: Zone = None,
    replay: WhatIsDone = None,
    overlap: WhenItOverlaps = None,
    catch_up: CatchUp = None,
    reason: Reason = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Change a schedule. What is left out stays as it is."""
    given = _given(cron, every, time_zone, replay, overlap, catch_up)
    if not given:
        raise typer.BadParameter("nothing is to be changed; give --cron, --every, --time-zone, --replay, …")
    asked = {**given, "reason": reason}
    _show(lambda services: services.schedules.change(name, asked, OPERATOR), data_dir, as_json)


@schedules.command()
def show(name: Name, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show a schedule, its next five times, and what became of its runs."""
    _show(lambda services: services.schedules.get(name, OPERATOR), data_dir, as_json)


@schedules.command()
def pause(name: Name, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Let a schedule rest."""
    change = {"paused": True, "reason": reason}
    _show(lambda services: services.schedules.change(name, change, OPERATOR), data_dir, as_json)


@schedules.command()
def resume(name: Name, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Let a schedule go on. What came due meanwhile is not made up for."""
    change = {"paused": False, "reason": reason}
    _show(lambda services: services.schedules.change(name, change, OPERATOR), data_dir, as_json)


@schedules.command("run")
def run_now(name: Name, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Run a schedule now, paused or not."""
    _show(lambda services: services.schedules.run(name, OPERATOR, reason=reason), data_dir, as_json)


@schedules.command()
def backfill(
    name: Name,
    since: Annotated[str, typer.Option("--from", "--since", help="48h ago, or 2026-11-25T10:30:00+05:30")],
    until: Annotated[str, typer.Option("--to", help="The same.")] = "0s",
    reason: Reason = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Run a schedule for each of its times in a window that has passed, one after the other."""
    window = _window(since, until)
    assert window.since is not None
    assert window.until is not None
    first, last = window.since, window.until
    _show(lambda services: services.schedules.backfill(name, first, last, OPERATOR, reason=reason), data_dir, as_json)


@schedules.command()
def delete(name: Name, reason: Reason = None, data_dir: DataDir = None) -> None:
    """Delete a schedule with the history of its runs. The replays that it made stay."""
    run(lambda services: services.schedules.remove(name, OPERATOR, reason=reason), data_dir)


def _show(work: Callable[[Services], Awaitable[dict[str, Any]]], data_dir: Any, as_json: bool) -> None:
    found = run(work, data_dir)
    if as_json:
        print_json(found)
        return
    screen = console(wide=True)
    facts = table("", "")
    facts.show_header = False
    for name, value in {
        "name": found["name"],
        "when": _when(found),
        "time zone": found["time_zone"],
        "overlap": found["overlap"],
        "catch up": found["catch_up"],
        "replay": orjson.dumps(found["replay"]).decode(),
        "by": found["actor"],
        "next": "paused" if found["paused"] else ", ".join(map(cell, found["next_times"])),
    }.items():
        facts.add_row(name, cell(value))
    screen.print(facts)
    if found.get("runs"):
        runs = table("due", "kind", "state", "replay", "note")
        for one in found["runs"]:
            runs.add_row(*(cell(one[name]) for name in ("due_at", "kind", "state", "replay_id", "note")))
        screen.print()
        screen.print(runs)


def _given(
    cron: str | None,
    every: str | None,
    time_zone: str | None,
    replay: str | None,
    overlap: Overlap | None,
    catch_up: str | None,
) -> dict[str, object]:
    fields: dict[str, object] = {
        "cron": cron,
        "every": every,
        "time_zone": time_zone,
        "overlap": overlap,
        "catch_up": catch_up,
    }
    if replay is not None:
        fields["replay"] = _json(replay)
    return {name: value for name, value in fields.items() if value is not None}


def _when(found: Mapping[str, Any]) -> str:
    return f"every {found['every']}" if found["every"] else str(found["cron"])


def _ready_made(name: str) -> Mapping[str, Any]:
    for one in READY_MADE:
        if one.name == name:
            return one.fields
    there = ", ".join(one.name for one in READY_MADE)
    raise typer.BadParameter(f"--ready-made '{visible(name)}' is none; there are: {there}")


def _json(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"--replay is not JSON: {error}") from None


def _window(since: str, until: str) -> Filter:
    try:
        return parse_filter({"from": since, "to": until}, datetime.now(UTC), named=lambda name: f"--{name}")
    except InvalidInput as error:
        raise typer.BadParameter("; ".join(fault.message for fault in error.faults)) from None
