"""How a wrong value is shown in a message: shortened, printable, and never as a whole text.

Messages travel to callers, logs and pages, so what a caller sent gets into them only through here.
"""

from __future__ import annotations

from typing import TypeGuard

from app.domain.errors import Fault, InvalidInput

_LONGEST = 40


def refusal(field: str, message: str) -> InvalidInput:
    """The error for one field. ``message`` goes on after the field's name: "has 21 digits; …"."""
    return InvalidInput([Fault(field, f"{field} {message}")])


def quoted(value: object) -> str:
    """A value from JSON: a text shortened and in quotes, a small number as it is, of others the kind."""
    if isinstance(value, str):
        return f"'{shortened(value)}'"
    if is_number(value) and abs(value) < 1e15:
        return str(value)
    return kind(value)


def shortened(text: str) -> str:
    """The first 40 characters at most, with what can't be printed (line ends, lone surrogates) escaped."""
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return short if short.isprintable() else repr(short)[1:-1]


def kind(value: object) -> str:
    """What sort of JSON value it is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "text"
    if is_number(value):
        return "a number"
    return "a list" if isinstance(value, (list, tuple)) else "an object"


def is_number(value: object) -> TypeGuard[int | float]:
    """A JSON number. To Python true and false are numbers, too; to JSON they are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
