"""``wrapup failures``: what there is to mend, in groups of what one correction mends."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

from app.cli.filters import AccountNames, Causes
from app.cli.options import AsJson, DataDir, Reason
from app.cli.printing import cell, console, note, print_json, table
from app.cli.session import run
from app.services.keys import OPERATOR
from app.storage.failures import Wanted

failures = typer.Typer(help="What to mend, in groups: list, show, acknowledge, reopen.", no_args_is_help=True)

FailureId = Annotated[UUID, typer.Argument(metavar="ID", show_default=False)]


@failures.command("list")
def list_failures(
    account: AccountNames = None,
    cause: Causes = None,
    acknowledged: Annotated[
        bool | None, typer.Option("--acknowledged/--open", help="Only those that somebody knows, or nobody.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List what there is to mend, and the accounts on hold: open ones first, and of these the largest."""
    wanted = Wanted(accounts=account or (), causes=cause or (), acknowledged=acknowledged)
    found = run(lambda services: services.failures.all(wanted, limit=limit), data_dir)
    if as_json:
        print_json({"items": found.failures, "total": found.total, "holds": found.holds})
        return
    rows = table("id", "failed", "since", "whose", "known to", "what to do")
    for one in found.failures:
        known = one["acknowledged_by"] if one["acknowledged"] else None
        rows.add_row(*map(cell, (one["id"], one["count"], one["since"], one["owner"], known, one["hint"])))
    for hold in found.holds:
        about = (f"account {hold['account']}", f"{hold['waiting']} wait", hold["held_at"], hold["owner"])
        rows.add_row(*map(cell, (*about, None, hold["hint"])))
    console(wide=True).print(rows)
    if found.total > len(found.failures):
        note(f"There are {found.total} in all: give a higher --limit, or filter.")


@failures.command()
def show(failure_id: FailureId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show one. Its dispositions: `wrapup list --failure ID`."""
    _show(run(lambda services: services.failures.get(failure_id, OPERATOR), data_dir), as_json)


@failures.command()
def acknowledge(
    failure_id: FailureId,
    said: Annotated[str | None, typer.Option("--note", help="What is known, for whoever looks next.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say that it is known. It is open again when another disposition fails in the same way."""
    _show(run(lambda services: services.failures.acknowledge(failure_id, OPERATOR, note=said), data_dir), as_json)


@failures.command()
def reopen(failure_id: FailureId, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Take the acknowledgement back."""
    _show(run(lambda services: services.failures.reopen(failure_id, OPERATOR, reason=reason), data_dir), as_json)


def _show(failure: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(failure)
        return
    rows = table("", "")
    for name, value in failure.items():
        rows.add_row(name, cell(", ".join(value) if isinstance(value, list) else value))
    console(wide=True).print(rows)
