"""``wrapup submit``: a disposition taken in from the command line."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import typer

from app.cli.history import last_words
from app.cli.options import AsJson, DataDir, duration
from app.cli.printing import complain, print_json
from app.cli.session import run
from app.domain.lifecycle import FINAL, State
from app.services.keys import OPERATOR
from app.wiring import Services

_LOOK_EVERY = 0.2  # seconds


def submit(
    account: Annotated[str | None, typer.Option(help="CloudAgent's user name.")] = None,
    ucid: Annotated[str | None, typer.Option(help="The call's UCID.")] = None,
    did: Annotated[str | None, typer.Option(help="The number from which the call was dialled out.")] = None,
    agent_id: Annotated[str | None, typer.Option(help="CloudAgent's id of the agent.")] = None,
    disposition: Annotated[str | None, typer.Option(help="The outcome code as in CloudAgent.")] = None,
    comments: Annotated[str | None, typer.Option()] = None,
    action: Annotated[str | None, typer.Option(help="Only: set")] = None,
    callback_time: Annotated[str | None, typer.Option(help="ISO 8601, or as CloudAgent writes it.")] = None,
    callback_time_zone: Annotated[str | None, typer.Option(help="Its IANA zone. Else Asia/Kolkata")] = None,
    pause_after_dispose: Annotated[bool, typer.Option("--pause-after-dispose", help="Pause the agent.")] = False,
    pause_reason: Annotated[str | None, typer.Option()] = None,
    occurred_at: Annotated[str | None, typer.Option(help="When the agent chose it, RFC 3339.")] = None,
    max_age_seconds: Annotated[str | None, typer.Option(help="When to give up.")] = None,
    reference: Annotated[str | None, typer.Option(help="The CRM's own id.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key again stores nothing new.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is final. Status 0: delivered.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait at most.")] = "60s",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Hand in one disposition. Prints its id and state once it is stored.

    With --json what the API would answer; with --wait and --json the disposition as `show` gives it, at the end.
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
        "pause_after_dispose": pause_after_dispose,
        "pause_reason": pause_reason,
        "occurred_at": occurred_at,
        "max_age_seconds": max_age_seconds,
        "reference": reference,
    }
    fields = {name: value for name, value in given.items() if value is not None}
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
