"""A file of failures: the rows that could not be stored, each with the reason, to be mended and submitted again."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path
from typing import TextIO

from app.cli.rows import Row, Rows

_OF_FAILURES = re.compile(r"\.failed(-[0-9]+)?$")


class Failures:
    """Writes the file; there is none without a failure."""

    def __init__(self, path: Path | None, rows: Rows) -> None:
        self._path = path  # None: they are not kept
        self._rows = rows
        self._file: TextIO | None = None

    @property
    def path(self) -> Path | None:
        """Where they are, if there are any."""
        return None if self._file is None else self._path

    def add(self, row: Row, error: str, key: str | None) -> None:
        """Keeps a row; ``key`` if it has to have the same idempotency key the next time."""
        if self._path is None:
            return
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            self._file.write(self._rows.head)
        else:
            self._file.write(self._rows.between)
        self._file.write(self._rows.failure(row, error, key))

    def close(self) -> None:
        """Completes the file."""
        if self._file is not None:
            with self._file as file:
                file.write(self._rows.tail)


def beside(path: Path) -> Path:
    """A name for the failures of a file that nothing has yet: what somebody is mending is not overwritten."""
    stem = _OF_FAILURES.sub("", path.stem)
    names = (f"{stem}.failed{'' if number == 1 else f'-{number}'}{path.suffix}" for number in count(1))
    return next(found for found in map(path.with_name, names) if not found.exists())
