"""pydantic's complaints as faults: every wrong field, a sentence for each, and never the value that was sent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from app.domain.errors import Fault
from app.domain.refusals import shortened


def faults_of(complaints: Sequence[Any], *, known: Collection[str] = ()) -> list[Fault]:
    """One fault for each complaint (``ErrorDetails``). ``known``: the names there are, told where one is not known."""
    return [_fault(complaint, known) for complaint in complaints]


def _fault(complaint: Any, known: Collection[str]) -> Fault:
    field = shortened(".".join(map(str, complaint["loc"]))) or "body"
    message: str = complaint["msg"]
    match complaint["type"]:
        case "missing":
            message = f"{field} is missing."
        case "extra_forbidden":
            message = f"{field} is not a field; the fields are {', '.join(known)}."
        case "value_error":  # a rule of our own: its words, which name the field where they can
            message = message.removeprefix("Value error, ")
        case _ if message.startswith("Input "):
            message = f"{field} {message.removeprefix('Input ')}."
        case _:
            message = f"{field}: {message}."
    return Fault(field, message)
