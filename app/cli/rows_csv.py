"""Rows from CSV: a header row, then one disposition in each, as spreadsheets and CRMs export them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain

from app.cli.columns import ERROR, KEY, Columns
from app.cli.rows import NOT_UTF8, Lines, Row, Unreadable, is_utf8
from app.domain.errors import InvalidInput
from app.domain.refusals import shortened

_DELIMITERS = ",;\t|"


class CsvRows:
    """The rows of a CSV file, whose header is read and understood at once."""

    between = ""
    tail = ""

    def __init__(self, lines: Lines, columns: Columns, delimiter: str | None) -> None:
        first = next((line for line in lines if line.strip()), None)
        if first is None:
            raise Unreadable("The file is empty: its first row must have the names of the columns.")
        self.total = lines.size
        self._lines = lines
        self._columns = columns
        self._line_end = "\r\n" if first.endswith("\r\n") else "\n"
        try:
            self._delimiter = delimiter or _sniffed(first, columns)
            self._reader = csv.reader(chain([first], lines), delimiter=self._delimiter, strict=True)
            header = [column.strip() for column in next(self._reader)]
        except csv.Error as error:
            raise Unreadable(f"The header row is not CSV: {error}.") from None
        if not all(map(is_utf8, header)):
            raise Unreadable(f"The header row {NOT_UTF8}.")
        while header and not header[-1]:  # spreadsheets leave delimiters behind
            header.pop()
        self._names = columns.names_of(header)
        self._header = header
        self._key_at = self._names.index(KEY) if KEY in self._names else None
        added = [KEY, ERROR] if self._key_at is None else [ERROR]
        mark = "\ufeff" if lines.marked else ""
        self.head = mark + self._line([*self._without_error(header), *added])

    def __iter__(self) -> Iterator[Row]:
        number = 0
        try:
            for cells in self._reader:
                if any(cells):
                    number += 1
                    yield self._row(number, cells)
        except csv.Error as error:
            raise Unreadable(
                f"Row {number + 1}, which ends in line {self._lines.number}, is not CSV: {error}. "
                "Is a quote missing, or not doubled?"
            ) from None

    def failure(self, row: Row, error: str, key: str | None) -> str:
        """What goes beyond the header comes last: the error has to stand in its column."""
        width = len(self._header)
        cells = [*row.record[:width], *[""] * (width - len(row.record))]
        if self._key_at is not None and key is not None:
            cells[self._key_at] = key
        added = [key or "", error] if self._key_at is None else [error]
        return self._line([*self._without_error(cells), *added, *row.record[width:]])

    def _row(self, number: int, cells: list[str]) -> Row:
        fields: dict[str, object] = {
            name: cell for name, cell in zip(self._names, cells, strict=False) if name is not None
        }
        fault = None
        width = len(self._names)
        if not is_utf8("".join(cells)):
            fault = f"{self._first_broken(cells)} {NOT_UTF8}"
        elif any(cells[width:]):
            fault = f"has {len(cells)} cells, the header has {width}: is there a '{self._delimiter}' without quotes?"
        else:
            try:
                self._columns.complete(fields)
            except InvalidInput as error:
                fault = str(error)
        return Row(number, fields, cells, self._lines.position, fault)

    def _first_broken(self, cells: Sequence[str]) -> str:
        place = next(place for place, cell in enumerate(cells) if not is_utf8(cell))
        return shortened(self._header[place]) if place < len(self._header) else f"cell {place + 1}"

    def _without_error(self, cells: Sequence[str]) -> list[str]:
        return [cell for cell, column in zip(cells, self._header, strict=True) if column != ERROR]

    def _line(self, cells: Sequence[str]) -> str:
        written = io.StringIO()
        csv.writer(written, delimiter=self._delimiter, lineterminator=self._line_end).writerow(cells)
        return written.getvalue()


def _sniffed(first: str, columns: Columns) -> str:
    """The delimiter that makes the most of the header row: known names first, then columns at all."""

    def made_of_it(delimiter: str) -> tuple[int, int]:
        cells = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter))]
        return sum(map(columns.knows, cells)), len(cells)

    return max(_DELIMITERS, key=made_of_it)
