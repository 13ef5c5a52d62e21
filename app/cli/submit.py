"""``wrapup submit``: dispositions taken in from the command line, one from its options or many from a file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from app.cli.history import last_words
from app.cli.options import AsJson, DataDir, duration
from app.cli.printing import complain, print_json
from app.cli.session import run
from app.cli.submit_file import FileOptions, Format, submit_file
from app.domain.lifecycle import FINAL, State
from app.services.keys import OPERATOR
from app.wiring import Services

_LOOK_EVERY = 0.2  # seconds
_ONE = "One disposition"
_MANY = "Many, from a file"

File = Annotated[
    Path | None,
    typer.Argument(help="A file of many: .csv, .tsv, .json, .ndjson, .jsonl. Stdin is -", show_default=False),
]


def _one(text: str | None = None) -> Any:
    return typer.Option(help=text, rich_help_panel=_ONE)


def _many(*names: str, text: str) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_MANY)


def submit(
    file: File = None,
    account: Annotated[str | None, _one("CloudAgent's user name.")] = None,
    ucid: Annotated[str | None, _one("The call's UCID.")] = None,
    did: Annotated[str | None, _one("The number from which the call was dialled out.")] = None,
    agent_id: Annotated[str | None, _one("CloudAgent's id of the agent.")] = None,
    disposition: Annotated[str | None, _one("The outcome code as in CloudAgent.")] = None,
    comments: Annotated[str | None, _one()] = None,
    action: Annotated[str | None, _one("Only: set")] = None,
    callback_time: Annotated[str | None, _one("ISO 8601, or as CloudAgent writes it.")] = None,
    callback_time_zone: Annotated[str | None, _one("Its IANA zone. Else Asia/Kolkata")] = None,
    pause_after_dispose: Annotated[
        bool, typer.Option("--pause-after-dispose", help="Pause the agent.", rich_help_panel=_ONE)
    ] = False,
    pause_reason: Annotated[str | None, _one()] = None,
    occurred_at: Annotated[str | None, _one("When the agent chose it, RFC 3339.")] = None,
    max_age_seconds: Annotated[str | None, _one("When to give up.")] = None,
    reference: Annotated[str | None, _one("The CRM's own id.")] = None,
    idempotency_key: Annotated[str | None, _one("The same key again stores nothing new.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until it is final. Status 0: delivered.", rich_help_panel=_ONE)
    ] = False,
    timeout: Annotated[str, _one("How long to wait at most.")] = "60s",
    format_: Annotated[Format | None, _many("--format", text="If the file's name does not say it.")] = None,
    maps: Annotated[
        list[str] | None, _many("--map", text="What a column is: 'Agent Name=agent_id'. Once for each.")
    ] = None,
    sets: Annotated[list[str] | None, _many("--set", text="What all rows share: account=acme. Once for each.")] = None,
    ignored: Annotated[
        list[str] | None, _many("--ignore", text="A column to leave out; '*' is all that are no fields.")
    ] = None,
    delimiter: Annotated[str | None, _many("--delimiter", text="Of CSV, or tab. Else the header row tells.")] = None,
    run_name: Annotated[
        str | None,
        _many("--run", text="What the rows' idempotency keys are made of. Else the file's digest; stdin needs it."),
    ] = None,
    failures: Annotated[
        Path | None,
        _many(
            "--failures",
            text="Where failed rows go, if there are any. Else FILE.failed beside it, a new one each time.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check all rows, store nothing. Failures are kept with --failures.", rich_help_panel=_MANY
        ),
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Hand in one disposition, or a file of them. Prints its id and state once it is stored.

    With --json what the API would answer; with --wait and --json the disposition as `show` gives it, at the end.

    A FILE's columns (or members) are the fields' names, or CloudAgent's; --map, --set and --ignore help. Its rows are
    stored in order, those of one call one after the other. At the end it counts them: stored, there already, failed.
    Status 0: all are stored.

    What was interrupted goes on when it is run again: a row that is stored is not stored twice. A row is known by the
    file's digest (or --run) and its number, for 2 days. Failed rows are written to a file, each with its error: mend
    it and submit it.
    """
    given = {
        "account": account,
        "ucid": ucid,
        "did": did,
        "agent_id": agent_id,
        "disposition": disposition,
        "comments": comments,
        "action": action,
        "callback_time": callback_time,
        "callback_time_zone": callback_time_zone,
        "pause_after_dispose": pause_after_dispose or None,
        "pause_reason": pause_reason,
        "occurred_at": occurred_at,
        "max_age_seconds": max_age_seconds,
        "reference": reference,
    }
    fields = {name: value for name, value in given.items() if value is not None}
    options = FileOptions(
        format_, tuple(maps or ()), tuple(sets or ()), tuple(ignored or ()), delimiter, run_name, failures, dry_run
    )
    if file is not None:
        keyed = {"idempotency_key": idempotency_key, "wait": wait}
        _refuse_beside_file([*fields, *(name for name, value in keyed.items() if value)])
        submit_file(file, options, data_dir=data_dir, as_json=as_json)
        return
    if options != FileOptions():
        raise typer.BadParameter("there is no FILE, and an option for one")
    patience = duration("--timeout", timeout).total_seconds()

    async def work(services: Services) -> dict[str, Any] | None:
        receipt = await services.intake.accept(fields, OPERATOR, idempotency_key=idempotency_key)
        if not as_json:
            print(receipt.id, receipt.state, *(["duplicate"] if receipt.duplicate else []), flush=True)
        elif not wait:
            print_json(asdict(receipt))
        return await _final(services, receipt.id, patience) if wait else None

    outcome = run(work, data_dir)
    if outcome is not None:
        _tell(outcome, as_json)
        raise typer.Exit(0 if outcome["state"] == State.DELIVERED else 1)


def _refuse_beside_file(names: Sequence[str]) -> None:
    if names:
        option = names[0].replace("_", "-")
        shared = "" if names[0] in ("idempotency_key", "wait") else f"; for all rows: --set {names[0]}=…"
        raise typer.BadParameter(f"--{option} is for one disposition, not for a FILE{shared}")


async def _final(services: Services, disposition_id: UUID, patience: float) -> dict[str, Any]:
    """The disposition when it is final, or as it is when the patience is at its end."""
    give_up = time.monotonic() + patience
    while True:
        found = await services.reports.disposition(disposition_id, OPERATOR)
        if found["state"] in FINAL or time.monotonic() >= give_up:
            return found
        await asyncio.sleep(_LOOK_EVERY)


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif found["state"] in FINAL:
        print(found["id"], found["state"])
    if found["state"] not in FINAL:
        complain(f"it is still {found['state']}. `wrapup show {found['id']}` tells how it goes on.")
    elif found["state"] != State.DELIVERED:
        complain(f"{found['state']}, {last_words(found)}. `wrapup show {found['id']}` tells more.")
