"""The JSON bodies of the control plane: which members each has, and what each must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

Members = dict[str, object]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a member must be, in words and as a test."""

    words: str
    fits: Callable[[object], bool]

    def or_null(self) -> Kind:
        """The same, or null."""
        return Kind(f"{self.words} or null", lambda value: value is None or self.fits(value))


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _script(value: object) -> bool:
    return isinstance(value, str) or _texts(value)


def _map_of(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _behaviour(value: object) -> bool:
    return _text_map(value) and isinstance(value, dict) and value.keys() <= {"mix", "latency"}


_text_map = _map_of(lambda value: isinstance(value, str))

TEXT = Kind("a text", lambda value: isinstance(value, str))
TEXTS = Kind("a list of texts", _texts)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
NUMBER = Kind("a whole number", lambda value: type(value) is int)
SCRIPT = Kind("a list of steps, or a text of steps with commas", _script)
SCRIPTS = Kind("an object of UCIDs and their scripts", _map_of(_script))
CALLS = Kind("an object of UCIDs and their DIDs", _text_map)
BEHAVIOURS = Kind("an object of customers, each with a mix and/or a latency", _map_of(_behaviour))


def read_members(body: bytes, kinds: dict[str, Kind]) -> Members:
    """The members of a JSON object, each known and of its kind. Raises `ValueError`."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004  a mistake of the caller, not of the code
    for name, value in content.items():
        if name not in kinds:
            raise ValueError(f"{name!r} is not known here: use {', '.join(kinds)}")
        if not kinds[name].fits(value):
            raise ValueError(f"{name} must be {kinds[name].words}")
    return content
