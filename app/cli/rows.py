"""The rows of a file, whatever its format: read one at a time, and written again if they fail."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from app.domain.errors import WrapupError

NOT_UTF8 = "is not UTF-8: save the file as UTF-8 ('CSV UTF-8' in Excel)"

_BOM = "\ufeff"
_UTF16 = ("\udcff\udcfe", "\udcfe\udcff")  # its marks, as they come out of our decoder
_LONGEST = 1024 * 1024  # characters of a line


class Unreadable(WrapupError):
    """From here on the file can't be read."""


@dataclass(frozen=True, slots=True)
class Row:
    """One disposition of a file."""

    number: int  # from 1; what is blank does not count
    fields: dict[str, object]
    record: Any  # as it was read, for its format to write it again
    at: int  # how much of the file was read by then, of `Rows.total`
    fault: str | None = None  # why there are no fields


class Rows(Protocol):
    """A file's rows. What could not be stored is written in the same format."""

    head: str
    between: str
    tail: str

    @property
    def total(self) -> int | None:
        """What `Row.at` is at the end; None if nobody knows."""

    def __iter__(self) -> Iterator[Row]:
        """Raises ``Unreadable`` at the place from which on nothing can be made of the file."""

    def failure(self, row: Row, error: str, key: str | None) -> str:
        """The row with the reason; ``key`` if it has to keep its idempotency key when it is sent again."""


class Lines:
    """The lines of a file with their ends, as text, one at a time.

    Bytes that are not UTF-8 come as lone surrogates, so that a row that has some can be refused, and written again as
    it was.
    """

    def __init__(self, file: io.FileIO, size: int | None) -> None:
        self.size = size  # bytes; None if it is a pipe
        self.marked = False  # with a byte-order mark, as Excel wants it
        self.number = 0
        self._file = file
        self._text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")

    @property
    def position(self) -> int:
        """How many bytes were read from the file; 0 for a pipe."""
        return 0 if self.size is None else self._file.tell()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._checked(self._text.readline(_LONGEST))
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == _LONGEST and not line.endswith(("\n", "\r")):
            raise Unreadable(f"Line {self.number} is longer than {_LONGEST} characters. Is this the right format?")
        return line

    def all(self) -> str:
        """All of it at once."""
        return self._checked(self._text.read())

    def _checked(self, text: str) -> str:
        if self.number or not text:
            return text
        if text.startswith(_UTF16):
            raise Unreadable("The file is UTF-16. Save it as UTF-8 ('CSV UTF-8' in Excel).")
        self.marked = text.startswith(_BOM)
        return text.removeprefix(_BOM)


def is_utf8(text: str) -> bool:
    """True if all of the text came from valid bytes, and can be encoded again."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
