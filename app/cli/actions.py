"""``wrapup retry``, ``resend`` and ``cancel``: what an operator does to one disposition."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import typer

from app.cli.history import print_history
from app.cli.options import AsJson, DataDir, Reason
from app.cli.session import run
from app.services.keys import OPERATOR
from app.wiring import Services

DispositionId = Annotated[UUID, typer.Argument(metavar="ID", show_default=False)]


def retry(
    disposition_id: DispositionId, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Send a failed disposition again, unless a newer one of its call has come since."""
    _act(
        lambda services: services.actions.retry(disposition_id, OPERATOR, reason=reason),
        disposition_id,
        data_dir,
        as_json,
    )


def resend(
    disposition_id: DispositionId,
    sets: Annotated[list[str], typer.Option("--set", help="What was wrong, as it is right: agent_id=a17")],
    reason: Reason = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Send a corrected disposition in place of one that has ended. Shows the new one; the old stays as it was."""
    pairs = [text.partition("=") for text in sets]
    for name, equals, value in pairs:
        if not (name and equals):
            raise typer.BadParameter(f"--set '{name}{equals}{value}' is not like 'agent_id=a17'")
    changes = {name: value for name, _, value in pairs}

    async def work(services: Services) -> dict[str, Any]:
        new_id = await services.actions.resend(disposition_id, changes, OPERATOR, reason=reason)
        return await services.reports.disposition(new_id, OPERATOR)

    print_history(run(work, data_dir), as_json)


def cancel(
    disposition_id: DispositionId, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Take a waiting disposition back for good."""
    _act(
        lambda services: services.actions.cancel(disposition_id, OPERATOR, reason=reason),
        disposition_id,
        data_dir,
        as_json,
    )


def _act(act: Callable[[Services], Awaitable[None]], disposition_id: UUID, data_dir: DataDir, as_json: bool) -> None:
    async def work(services: Services) -> dict[str, Any]:
        await act(services)
        return await services.reports.disposition(disposition_id, OPERATOR)

    print_history(run(work, data_dir), as_json)
