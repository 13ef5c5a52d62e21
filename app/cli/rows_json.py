"""Rows from JSON: objects one a line, or all in one document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from app.cli.columns import ERROR, KEY, Columns
from app.cli.rows import NOT_UTF8, Lines, Row, Unreadable, is_utf8
from app.domain.errors import InvalidInput
from app.domain.refusals import kind, shortened

_UNREADABLE = "unreadable"
"""The member that keeps what could not be read as an object, in a file of failures."""


class _Doubled(dict[str, Any]):
    """An object that has a key twice: two readers could understand it in two ways."""


class NdjsonRows:
    """Objects one a line. A line that is none spoils no other."""

    head = between = tail = ""

    def __init__(self, lines: Lines, columns: Columns) -> None:
        self.total = lines.size
        self._lines = lines
        self._columns = columns

    def __iter__(self) -> Iterator[Row]:
        number = 0
        for line in self._lines:
            if not line.strip():
                continue
            number += 1
            if not is_utf8(line):
                yield Row(number, {}, line, self._lines.position, NOT_UTF8)
                continue
            try:
                item = _parsed(line)
            except ValueError as error:
                yield Row(number, {}, line.strip(), self._lines.position, f"is not JSON: {error}")
            else:
                yield _row(number, item, self._columns, self._lines.position)

    def failure(self, row: Row, error: str, key: str | None) -> str:
        return _failure(row, error, key) + "\n"


class JsonRows:
    """One document: a list of objects, or ``{"dispositions": […]}``. It is read whole."""

    head = "[\n"
    between = ",\n"
    tail = "\n]\n"

    def __init__(self, lines: Lines, columns: Columns) -> None:
        text = lines.all()
        if not is_utf8(text):
            raise Unreadable(f"The file {NOT_UTF8}.")
        try:
            document = _parsed(text)
        except ValueError as error:
            raise Unreadable(
                f"The file is not JSON: {error}. If it has one object a line, say --format ndjson."
            ) from None
        items = document
        if type(document) is dict and document.keys() == {"dispositions"}:
            items = document["dispositions"]
        if not isinstance(items, list):
            raise Unreadable('The file must have a list of objects, or {"dispositions": […]} and nothing else.')
        self._items = items
        self._columns = columns
        self.total = len(items)

    def __iter__(self) -> Iterator[Row]:
        for number, item in enumerate(self._items, start=1):
            yield _row(number, item, self._columns, number)

    def failure(self, row: Row, error: str, key: str | None) -> str:
        return _failure(row, error, key)


def _parsed(text: str) -> Any:
    """What the text says. The numbers keep all their digits, so that a failure is written as it came."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refused)
    except RecursionError:
        raise ValueError("too many levels of objects and lists") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Doubled(found)


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"there is no {constant} in it")


def _row(number: int, item: Any, columns: Columns, at: int) -> Row:
    if not isinstance(item, dict):
        return Row(number, {}, item, at, f"must be an object, not {kind(item)}")
    if isinstance(item, _Doubled):
        return Row(number, {}, item, at, f"has a key twice; it has {', '.join(map(shortened, item))}")
    fields: dict[str, object] = {}
    fault = None
    try:
        fields = columns.fields(item)
        columns.complete(fields)
    except InvalidInput as error:
        fault = str(error)
    return Row(number, fields, item, at, fault)


def _failure(row: Row, error: str, key: str | None) -> str:
    known = row.record if isinstance(row.record, dict) else {_UNREADABLE: row.record}
    written = {name: value for name, value in known.items() if name != ERROR}
    if key is not None:
        written[KEY] = key
    written[ERROR] = error
    text = json.dumps(written, ensure_ascii=False)
    return text if is_utf8(text) else json.dumps(written)  # halves of surrogate pairs can be written as \u only
