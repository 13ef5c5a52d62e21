"""Lists as files: all that a filter takes, as CSV for people or as JSON lines for programs, streamed.

``format=csv`` or ``format=jsonl`` beside the filter: an address that can be clicked, and sent to a colleague.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse

from app.domain import spreadsheet
from app.domain.refusals import quoted, refusal
from app.web.replies import JSON_OPTIONS

_PIECE = 32 * 1024  # bytes that are sent together

Item = Mapping[str, Any]


class Format(StrEnum):
    """How a list comes, if it is not read page by page."""

    CSV = "csv"
    JSON_LINES = "jsonl"


_MEDIA = {Format.CSV: "text/csv; charset=utf-8", Format.JSON_LINES: "application/x-ndjson"}

SCHEMA: dict[str, Any] = {"type": "string", "enum": list(Format)}
ABOUT = "The whole list as a file: `csv` for spreadsheets, `jsonl` (a JSON object a line) for programs."


def rule(name: str, text: str) -> Format:
    """The rule for ``format``."""
    if text not in set(Format):
        raise refusal(name, f"is {quoted(text)}; it must be {' or '.join(Format)}, or left out")
    return Format(text)


def documented(example: Item) -> dict[str, Any]:
    """The contents of a list's answer as a file, for OpenAPI."""
    return {
        "text/csv": {"schema": {"type": "string"}, "example": _csv_line(example) + _csv_line(example, head=False)},
        "application/x-ndjson": {"schema": {"type": "string"}, "example": _json_line(example).decode()},
    }


async def as_file(
    items: AsyncIterator[Item],
    columns: Sequence[str],
    kind: Format,
    name: str,
    *,
    seen: Callable[[Item], Item] = lambda item: item,
) -> Response:
    """The answer that streams the items; ``seen`` makes of each what the one who asks may see.

    What goes wrong at the beginning is answered as ever. Later the answer breaks off, and whoever reads it notices.
    """
    first = await anext(items, None)
    file = f"{name}-{datetime.now(UTC):%Y-%m-%d}.{kind}"
    return StreamingResponse(
        _pieces(_lines(first, items, columns, kind, seen)),
        media_type=_MEDIA[kind],
        headers={"Content-Disposition": f'attachment; filename="{file}"', "Cache-Control": "no-store"},
    )


async def _lines(
    first: Item | None, items: AsyncIterator[Item], columns: Sequence[str], kind: Format, seen: Callable[[Item], Item]
) -> AsyncIterator[bytes]:
    write: Callable[[Item], bytes] = _json_line
    if kind is Format.CSV:
        yield (spreadsheet.MARK + spreadsheet.line(columns)).encode()

        def write(item: Item) -> bytes:
            return spreadsheet.line(item[name] for name in columns).encode()

    if first is None:
        return
    yield write(seen(first))
    async for item in items:
        yield write(seen(item))


async def _pieces(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Many lines in one piece: each piece is a packet, and a turn of the loop."""
    gathered = bytearray()
    async for line in lines:
        gathered += line
        if len(gathered) >= _PIECE:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


def _json_line(item: Item) -> bytes:
    return orjson.dumps(item, option=JSON_OPTIONS | orjson.OPT_APPEND_NEWLINE)


def _csv_line(item: Item, *, head: bool = True) -> str:
    return spreadsheet.line(item if head else item.values())
