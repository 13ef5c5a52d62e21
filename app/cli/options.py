"""Options that several commands have, and how their texts are read."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from app.domain import fields
from app.domain.errors import InvalidInput
from app.settings import parse_duration

DataDir = Annotated[
    Path | None,
    typer.Option(help="The folder of the `wrapup up` to work beside. Else WRAPUP_DATA_DIR, or .wrapup"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Reason = Annotated[str | None, typer.Option(help="Why; it is kept in the audit trail.")]
From = Annotated[str | None, typer.Option("--from", help="Accepted at this time or later: 2026-11-25T10:30:00+05:30")]
To = Annotated[str | None, typer.Option("--to", help="Accepted before this time.")]


def moment(option: str, text: str | None) -> datetime | None:
    """An RFC 3339 time with an offset."""
    try:
        return None if text is None else fields.instant(option, text)
    except InvalidInput as error:
        raise typer.BadParameter(error.faults[0].message) from None


def duration(option: str, text: str) -> timedelta:
    """A span of time: 250ms, 10s, 5m, 72h, 400d."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} {error}") from None
