"""A disposition with its attempts and events, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.cli.printing import cell, console, print_json, table

_FIELDS = (
    *("id", "state", "outcome", "cause", "next_attempt_at", "account", "ucid", "did", "agent_id", "disposition"),
    *("comments", "callback_time", "callback_time_zone", "pause_after_dispose", "pause_reason", "reference"),
    *("source", "occurred_at", "created_at", "finished_at", "expires_at", "superseded_by", "resent_from"),
    "replay_id",
)


def print_history(found: Mapping[str, Any], as_json: bool) -> None:
    """All of it, as JSON or in the order of reading: how it stands, what was tried, what happened."""
    if as_json:
        print_json(found)
    else:
        console().print(Group(_fields(found), Text(), _attempts(found), Text(), _events(found)))


def last_words(found: Mapping[str, Any]) -> str:
    """In one line: why it is as it is, with what CloudAgent said last."""
    if found["superseded_by"]:
        return f"by the newer {found['superseded_by']}"
    said = _said(found["attempts"][-1]) if found["attempts"] else ""
    return f"{found['cause']}" + (f" ({said})" if said else "")


def _said(attempt: Mapping[str, Any]) -> str:
    """Its status and details; or, if it did not answer, why not."""
    return ": ".join(filter(None, (attempt["reply_status"], attempt["reply_details"])))


def _fields(found: Mapping[str, Any]) -> Table:
    rows = Table.grid(padding=(0, 2))
    for name in _FIELDS:
        value = found[name]
        if value is not None and value is not False:
            rows.add_row(name, cell(value))
    return rows


def _attempts(found: Mapping[str, Any]) -> RenderableType:
    """A paragraph for each, since CloudAgent's words may be long."""
    if not found["attempts"]:
        return Text("no attempt yet")
    rows = Table.grid(padding=(0, 2))
    for one in found["attempts"]:
        rows.add_row(f"attempt {one['number']}", "\n".join(map(cell, _about(one))))
    return rows


def _about(attempt: Mapping[str, Any]) -> Iterator[str]:
    if attempt["outcome"] is None:
        yield "under way"
    else:
        status = f", HTTP {attempt['http_status']}" if attempt["http_status"] else ""
        latency = "" if attempt["latency_ms"] is None else f" after {attempt['latency_ms']} ms"
        yield f"{attempt['outcome']} ({attempt['certainty']}){status}{latency}"
    if said := _said(attempt):
        yield said
    yield f"{cell(attempt['started_at'])} to {cell(attempt['finished_at']) or '?'}"
    yield f"X-Request-Id {attempt['id']}"
    yield from attempt["notes"]


def _events(found: Mapping[str, Any]) -> Table:
    rows = table("event", "actor", "action", "from", "to", "reason")
    for one in found["events"]:
        rows.add_row(*(cell(one[name]) for name in ("at", "actor", "action", "from", "to", "reason")))
    return rows
