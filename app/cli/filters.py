"""The options that say which dispositions: each may be repeated, and all that are given apply."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.domain.errors import InvalidInput
from app.domain.filters import Filter, parse_filter
from app.domain.lifecycle import State

States = Annotated[list[State] | None, typer.Option("--state", help="May be repeated, like all of these.")]
Causes = Annotated[list[str] | None, typer.Option("--cause", help="Why it failed: invalid_agent, expired, …")]
AccountNames = Annotated[list[str] | None, typer.Option("--account")]
Ucids = Annotated[list[str] | None, typer.Option("--ucid")]
AgentIds = Annotated[list[str] | None, typer.Option("--agent-id")]
Dids = Annotated[list[str] | None, typer.Option("--did")]
Codes = Annotated[list[str] | None, typer.Option("--disposition", help="The outcome code.")]
Sources = Annotated[list[str] | None, typer.Option("--source", help="The source that sent it.")]
References = Annotated[list[str] | None, typer.Option("--reference", help="The CRM's own id.")]
FailureIds = Annotated[list[str] | None, typer.Option("--failure", help="The id of one of `wrapup failures list`.")]
Search = Annotated[str | None, typer.Option("--q", help="Words: an id, UCID, agent, DID, code, words of the reply.")]
From = Annotated[
    str | None,
    typer.Option("--from", "--since", help="Accepted then or later: 24h ago, or 2026-11-25T10:30:00+05:30"),
]
To = Annotated[str | None, typer.Option("--to", help="Accepted before.")]


def filter_of(options: Mapping[str, object]) -> Filter:
    """The filter that the options say, under the names of the grammar; what was not given is None."""
    given = {name: value for name, value in options.items() if value not in (None, [])}
    try:
        return parse_filter(given, datetime.now(UTC), named=lambda name: "--" + name.replace("_", "-"))
    except InvalidInput as error:
        raise typer.BadParameter("; ".join(fault.message for fault in error.faults)) from None
