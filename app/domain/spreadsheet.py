"""CSV for people with a spreadsheet: what stands in a cell is what was stored, and nothing of it is run.

Spreadsheets guess. A UCID becomes 1.2E+15, a DID loses its plus, an agent 007 its zeros, a code 1-2 becomes a day in
January. So a text that they would take for a number or a date is written as ``="1234567890123456"``, which all of them
show as that text. And a text that they would run as a formula gets an apostrophe in front. Programs take JSON lines,
where everything is as it is.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

MARK = "\ufeff"
"""At the beginning of a file: it is UTF-8. Without it Excel takes it for the local code page."""

_GUESSED = re.compile(r"[+-]?[0-9][0-9.,:/ eE+-]*")  # no quote can be in it
_RUN = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four are full width


def cell(value: object) -> str:
    """A value as it stands in a cell; a list with its items side by side."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Sequence):
        return _text("; ".join(map(str, value)))
    return _text(str(value))


def line(values: Iterable[object]) -> str:
    """A row of a file (RFC 4180)."""
    written = io.StringIO()
    csv.writer(written).writerow([cell(value) for value in values])
    return written.getvalue()


def _text(text: str) -> str:
    if _GUESSED.fullmatch(text):
        return f'="{text}"'
    return f"'{text}" if text.startswith(_RUN) else text
