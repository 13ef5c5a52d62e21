"""``wrapup replay``: one action on all dispositions that the options take; and how replays go."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.filters import (
    AccountNames,
    AgentIds,
    Causes,
    Codes,
    Dids,
    FailureIds,
    From,
    References,
    Search,
    Sources,
    States,
    To,
    Ucids,
)
from app.cli.options import AsJson, AsJsonLines, DataDir, Reason
from app.cli.printing import cell, complain, console, note, print_json, table
from app.cli.session import run
from app.domain.errors import InvalidInput
from app.domain.replays import MEANINGS, Action, ReplayState, Result
from app.services.keys import OPERATOR
from app.services.replays import Plan, Request, read_request, summary
from app.wiring import Services

_EVERY = 0.5  # seconds

_CONDITION = re.compile(r"\bfilter\.\w+")
_OPTIONS = {"rate_per_second": "--rate", "idempotency_key": "--key", "filter": "the filter"}

replays = typer.Typer(help="Replays: list, show, start, cancel.", no_args_is_help=True)

ReplayId = Annotated[UUID, typer.Argument(metavar="ID", show_default=False)]


def replay(
    ids: Annotated[list[UUID] | None, typer.Option("--id", help="May be repeated, like all filters.")] = None,
    state: States = None,
    cause: Causes = None,
    account: AccountNames = None,
    ucid: Ucids = None,
    agent_id: AgentIds = None,
    did: Dids = None,
    disposition: Codes = None,
    source: Sources = None,
    reference: References = None,
    failure: FailureIds = None,
    q: Search = None,
    since: From = None,
    until: To = None,
    action: Annotated[Action, typer.Option(help="What is done with each.")] = Action.RETRY,
    corrections: Annotated[
        list[str] | None, typer.Option("--map", help="To resend: agent_id:x7=a17, a wrong value and the right one.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="At most so many a second. Live traffic goes first.")] = None,
    max_items: Annotated[int | None, typer.Option(help="The oldest so many.")] = None,
    extend_max_age: Annotated[bool, typer.Option(help="Also those beyond their maximum age.")] = False,
    stop_share: Annotated[float | None, typer.Option(help="Stop when more than this share failed again.")] = None,
    stop_after: Annotated[int | None, typer.Option(help="Look at the share once so many have ended.")] = None,
    reason: Reason = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same one makes one replay.")] = None,
    draft: Annotated[
        bool, typer.Option("--draft", help="Only freeze what is counted; `wrapup replays start` begins.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until all have come to an end.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="The same, with a progress bar.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Send again all that failed and match; or correct them, or take back what waits.

    In the background; with --wait or --watch the exit status is 0 when all have arrived, 1 when some failed again.
    """
    conditions = {
        "id": [str(one) for one in ids or ()],
        "state": state,
        "cause": cause,
        "account": account,
        "ucid": ucid,
        "agent_id": agent_id,
        "did": did,
        "disposition": disposition,
        "source": source,
        "reference": reference,
        "failure": failure,
        "q": q,
        "from": since,
        "to": until,
    }
    fields = {
        "filter": {name: value for name, value in conditions.items() if value not in (None, [])},
        "action": action,
        "map": _map(corrections),
        "rate_per_second": rate,
        "max_items": max_items,
        "extend_max_age": extend_max_age,
        "stop_share": stop_share,
        "stop_after": stop_after,
        "reason": reason,
        "start": False if draft else None,
    }
    request = _request(fields)

    async def work(services: Services) -> int:
        if dry_run:
            _print_plan(await services.replays.plan(request.order), as_json)
            return 0
        made = (await services.replays.create(request, OPERATOR, idempotency_key=key)).replay
        if draft or not (wait or watch):
            _print_started(summary(made), as_json)
            return 0
        return await _wait(services, made.id, watch, as_json)

    try:
        return run(work, data_dir)
    except InvalidInput as error:  # a reason is missing, or the key is none
        raise typer.BadParameter(_said(error)) from None


@replays.command("list")
def list_replays(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    data_dir: DataDir = None,
    as_json: AsJsonLines = False,
) -> None:
    """List replays, the newest first."""

    async def work(services: Services) -> Sequence[dict[str, Any]]:
        found, _ = await services.replays.page(OPERATOR, limit=limit)
        return [summary(one) for one in found]

    found = run(work, data_dir)
    if as_json:
        for one in found:
            print_json(one)
        return
    rows = table("id", "action", "state", "items", "arrived", "failed", "skipped", "waiting", "by", "created")
    for one in found:
        names = ("id", "action", "state", "total", "delivered", "failed", "skipped", "waiting", "actor", "created_at")
        rows.add_row(*(cell(one[name]) for name in names))
    console(wide=True).print(rows)


@replays.command()
def show(
    replay_id: ReplayId,
    result: Annotated[list[Result] | None, typer.Option(help="Only items with this result; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many items at most.")] = 100,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until all have come to an end.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Show how a replay goes, and what became of its items."""

    async def work(services: Services) -> int:
        found = summary(await services.replays.get(replay_id, OPERATOR))
        if watch:
            return await _wait(services, replay_id, watch, as_json)
        items, _ = await services.replays.items(replay_id, results=result or (), limit=limit)
        names = ("position", "disposition_id", "result", "why", "sent_id", "at")
        if as_json:
            print_json(found | {"items": [{name: getattr(item, name) for name in names} for item in items]})
            return 0
        print(_line(found))
        rows = table("", "disposition", "result", "why", "sent as", "at")
        for item in items:
            rows.add_row(*(cell(getattr(item, name)) for name in names))
        console(wide=True).print(rows)
        return 0

    return run(work, data_dir)


@replays.command()
def start(replay_id: ReplayId, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Start a draft: what is done is what was counted."""

    async def work(services: Services) -> dict[str, Any]:
        return summary(await services.replays.start(replay_id, OPERATOR, reason=reason))

    started = run(work, data_dir)
    _print_started(started, as_json)


@replays.command()
def cancel(replay_id: ReplayId, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """End a replay. What it has sent is sent."""

    async def work(services: Services) -> dict[str, Any]:
        return summary(await services.replays.cancel(replay_id, OPERATOR, reason=reason))

    ended = run(work, data_dir)
    print_json(ended) if as_json else print(_line(ended))


async def _wait(services: Services, replay_id: UUID, watch: bool, as_json: bool) -> int:
    """Follows a replay until it is settled; gives the exit status."""
    # A shell has what it runs in the background ignore the interrupt. Here it is the only way to leave.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with _progress(watch) as progress:
            bar = progress.add_task("ended", total=None)
            while True:
                found = summary(await services.replays.get(replay_id, OPERATOR))
                progress.update(bar, total=found["total"] or 1, completed=_ended(found))
                if found["settled_at"] is not None:
                    break
                await asyncio.sleep(_EVERY)
    except (KeyboardInterrupt, asyncio.CancelledError):
        complain(f"left replay {replay_id} to itself; `wrapup replays show {replay_id}` tells how it goes.")
        return 1
    print_json(found) if as_json else print(_line(found))
    return 0 if _arrived(found) else 1


def _ended(found: Mapping[str, Any]) -> int:
    return int(found["total"] - found["waiting"] - found["sent"])


def _arrived(found: Mapping[str, Any]) -> bool:
    """True if each came to where it was to come; in whose place a newer one went has come there, too."""
    good = found["cancelled"] if found["action"] == Action.CANCEL else found["delivered"] + found["superseded"]
    return bool(found["state"] == ReplayState.DONE and good == found["total"])


def _line(found: Mapping[str, Any]) -> str:
    """The one line that sums a replay up."""
    counts = [f"{found['delivered']} of {found['total']} arrived", f"{found['failed']} failed again"]
    if found["action"] == Action.CANCEL:
        counts = [f"{found['cancelled']} of {found['total']} taken back"]
    more = {"superseded": "superseded", "skipped": "skipped", "sent": "on their way", "waiting": "waiting"}
    counts += [f"{found[name]} {words}" for name, words in more.items() if found[name]]
    if found["left_out"]:
        counts.append(f"left out: {_reasons(found['left_out'])}")
    return f"replay {found['id']} {found['state']}: {', '.join(counts)}"


def _reasons(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {why}" for why, n in sorted(left_out.items()))


def _print_started(found: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print(_line(found))
    if found["state"] == ReplayState.DRAFT:
        note(f"Nothing is sent until you start it: wrapup replays start {found['id']}")
    else:
        note(f"It goes on in the background: wrapup replays show {found['id']} --watch")


def _print_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        print_json({"eligible": plan.eligible, "left_out": plan.left_out, "samples": plan.samples})
        return
    print(f"{plan.eligible} would be done; nothing was.")
    rows = table("left out", "why", "", "for example")
    for why, n in sorted(plan.left_out.items()):
        sample = next(iter(plan.samples.get(why, ())), None)
        rows.add_row(str(n), cell(why), cell(MEANINGS[why]), cell(sample))
    if plan.left_out:
        console(wide=True).print(rows)


def _progress(wanted: bool) -> Progress:
    """A bar on stderr, where that is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not wanted or not sys.stderr.isatty(),
    )


def _map(corrections: Sequence[str] | None) -> dict[str, dict[str, str]] | None:
    if not corrections:
        return None
    value_map: dict[str, dict[str, str]] = {}
    for text in corrections:
        field, colon, values = text.partition(":")
        wrong, equals, right = values.partition("=")
        if not (colon and equals):
            raise typer.BadParameter(f"--map '{text}' is not like 'agent_id:x7=a17'")
        value_map.setdefault(field, {})[wrong] = right
    return value_map


def _request(fields: Mapping[str, object]) -> Request:
    try:
        return read_request({name: value for name, value in fields.items() if value is not None}, OPERATOR)
    except InvalidInput as error:
        raise typer.BadParameter(_said(error)) from None


def _said(error: InvalidInput) -> str:
    """The faults, with the options in place of the API's names."""
    said = "; ".join(fault.message.replace(fault.field, _option(fault.field), 1) for fault in error.faults)
    return _CONDITION.sub(lambda named: _option(named[0]), said)  # one may speak of another


def _option(field: str) -> str:
    name = field.removeprefix("filter.")
    return _OPTIONS.get(name) or "--" + name.replace("_", "-")
