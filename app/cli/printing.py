"""How things are printed: JSON for programs, tables for people, one line for errors.

What CRMs and CloudAgent wrote is shown as text whatever is in it: no markup, and no sequence that a terminal would
obey.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

# As the API prints (app/web/replies.py).
_JSON_OPTIONS = orjson.OPT_UTC_Z

# Format characters that Indian scripts need; all others could reorder or hide what stands beside them.
_JOINERS = "\u200c\u200d"

_WIDE = 5000  # characters


def print_json(value: Any, *, flush: bool = False) -> None:
    """One line of JSON on stdout: times in UTC with a Z, ids as text. ``flush``: to be read at once."""
    sys.stdout.buffer.write(orjson.dumps(value, option=_JSON_OPTIONS | orjson.OPT_APPEND_NEWLINE))
    if flush:
        sys.stdout.flush()


def complain(*lines: str) -> None:
    """Says on stderr what went wrong."""
    print("wrapup: " + "\n".join(map(visible, lines)), file=sys.stderr)


def note(line: str) -> None:
    """Says something beside the result, on stderr."""
    print(visible(line), file=sys.stderr)


def console(*, wide: bool = False) -> Console:
    """Where tables go. It takes every text as it is.

    Columns are made to fit into a terminal; not if they are ``wide``, nor in a file or a pipe: there a line of the
    table stays one line.
    """
    found = Console(markup=False, emoji=False, highlight=False)
    if wide or not found.is_terminal:
        found.width = _WIDE
    return found


def table(*columns: str) -> Table:
    """An empty table in our looks: columns without lines, so that it reads well in a file, too."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def visible(text: str) -> str:
    """The text with everything escaped that is not to be seen: controls, escape sequences, reordering."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in _JOINERS else ascii(character)[1:-1] for character in text
    )


def cell(value: object) -> str:
    """A value for people: nothing for None, times in UTC to the millisecond."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03}Z"
        case _:
            return visible(str(value))
