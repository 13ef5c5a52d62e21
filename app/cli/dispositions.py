"""``wrapup list`` and ``wrapup show``: what became of the dispositions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table

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
    filter_of,
)
from app.cli.history import print_history
from app.cli.options import AsJson, AsJsonLines, DataDir
from app.cli.printing import cell, console, note, print_json, table
from app.cli.session import run
from app.domain.cursor import Cursor
from app.domain.filters import Filter
from app.services.keys import OPERATOR
from app.wiring import Services

_PAGE = 500


def list_dispositions(
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
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    data_dir: DataDir = None,
    as_json: AsJsonLines = False,
) -> None:
    """List dispositions, the newest first."""
    wanted = filter_of(
        {
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
    )

    async def print_lines(services: Services) -> None:
        async for one in _newest(services, wanted, limit):
            print_json(one)

    async def collect(services: Services) -> list[dict[str, Any]]:
        return [one async for one in _newest(services, wanted, limit + 1)]

    if as_json:
        run(print_lines, data_dir)
        return
    found = run(collect, data_dir)
    console(wide=True).print(_lines(found[:limit]))
    if len(found) > limit:
        note(f"There are more than these {limit}: give a higher --limit, or filter.")


async def _newest(services: Services, wanted: Filter, limit: int) -> AsyncIterator[dict[str, Any]]:
    """Page by page, so that a long list takes no memory."""
    after: Cursor | None = None
    while limit > 0:
        page = await services.reports.page(wanted, after=after, limit=min(limit, _PAGE))
        for one in page.items:
            yield one
        if page.next is None:
            return
        after = page.next
        limit -= len(page.items)


def _lines(found: Sequence[dict[str, Any]]) -> Table:
    heads = ("id", "state", "account", "UCID", "agent", "disposition", "outcome", "attempts", "accepted", "next try")
    rows = table(*heads)
    for one in found:
        names = ("id", "state", "account", "ucid", "agent_id", "disposition")
        why = one["cause"] or one["outcome"]
        times = (one["created_at"], one["next_attempt_at"])
        rows.add_row(*(cell(one[name]) for name in names), cell(why), cell(one["attempt_count"]), *map(cell, times))
    return rows


def show(
    disposition_id: Annotated[UUID, typer.Argument(metavar="ID", show_default=False)],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show one disposition with all its attempts and events."""

    async def work(services: Services) -> dict[str, Any]:
        return await services.reports.disposition(disposition_id, OPERATOR)

    print_history(run(work, data_dir), as_json)
