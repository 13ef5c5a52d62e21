"""Options that several commands have, and how their texts are read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from app.domain.durations import parse_duration

DataDir = Annotated[
    Path | None,
    typer.Option(help="The folder of the `wrapup up` to work beside. Else WRAPUP_DATA_DIR, or .wrapup"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Reason = Annotated[str | None, typer.Option(help="Why; it is kept in the audit trail.")]


def duration(option: str, text: str) -> timedelta:
    """A span of time: 250ms, 10s, 5m, 72h, 400d."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} {error}") from None
