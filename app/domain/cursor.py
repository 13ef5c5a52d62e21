"""Cursors: where a page of a list begins, and which way it goes.

A list is read from a place and not from a number on, so that a page stays what it is while new things come. A cursor
is the id at that place: ``01a20a15-…`` goes on to what is older, ``01a20a15-….newer`` back to what is newer. The place
itself is on neither page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from app.domain.refusals import quoted, refusal

_NEWER = ".newer"
_LAST = (1 << 128) - 1

PATTERN = r"^[0-9a-fA-F-]{32,36}(\.newer)?$"
"""What a cursor looks like, for OpenAPI."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list that is ordered by id, newest first; ``newer``: back towards its beginning."""

    id: UUID
    newer: bool = False

    def __str__(self) -> str:
        """As it travels."""
        return f"{self.id}{_NEWER}" if self.newer else str(self.id)

    @property
    def time(self) -> datetime:
        """When what is there was made: an id begins with it."""
        return datetime.fromtimestamp((self.id.int >> 80) / 1000, UTC)


def neighbours(
    at: Cursor | None, ids: Sequence[UUID], *, more: bool, end: UUID | None = None
) -> tuple[Cursor | None, Cursor | None]:
    """The cursors before and behind a page that was read at ``at`` and holds ``ids``, newest first.

    ``more``: there is more in the direction of ``at``; behind ``end``, if it was looked for up to there and the page is
    not full. In the other direction there is what the reader comes from.
    """
    newer = at is not None and at.newer
    onward = Cursor(end or (ids[0] if newer else ids[-1]), newer) if more else None
    if at is None:
        return None, onward
    if ids:
        back = Cursor(ids[-1] if newer else ids[0], not newer)
    else:  # what the reader comes from, the place itself included
        back = Cursor(_beside(at.id, 1 if newer else -1), not newer)
    return (onward, back) if newer else (back, onward)


def _beside(place: UUID, step: int) -> UUID:
    return UUID(int=min(max(place.int + step, 0), _LAST))


def parse_cursor(name: str, text: str) -> Cursor:
    """The cursor that a text is; raises ``InvalidInput``."""
    try:
        return Cursor(UUID(text.removesuffix(_NEWER)), text.endswith(_NEWER))
    except ValueError:
        message = f"is {quoted(text)}; it must be `next` or `previous` of another page, as it came"
        raise refusal(name, message) from None
