"""Cursors: what leads on from a page, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.domain.cursor import Cursor, neighbours, parse_cursor
from app.domain.errors import InvalidInput

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


@pytest.mark.parametrize("cursor", [Cursor(ONE), Cursor(ONE, newer=True)])
def test_a_cursor_is_read_as_it_is_written(cursor: Cursor) -> None:
    assert parse_cursor("cursor", str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "x", ".newer", f"{ONE}.older", f"{ONE}.newer.newer"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="as it came"):
        parse_cursor("cursor", text)


@pytest.mark.parametrize(
    ("at", "ids", "more", "before", "behind"),
    [
        (None, [], False, None, None),
        (None, [THREE, TWO], False, None, None),
        (None, [THREE, TWO], True, None, Cursor(TWO)),
        (Cursor(THREE), [TWO, ONE], False, Cursor(TWO, newer=True), None),
        (Cursor(ONE, newer=True), [THREE, TWO], False, None, Cursor(TWO)),
        (Cursor(ONE, newer=True), [THREE, TWO], True, Cursor(THREE, newer=True), Cursor(TWO)),
        (Cursor(TWO), [], False, Cursor(ONE, newer=True), None),
        (Cursor(TWO, newer=True), [], False, None, Cursor(THREE)),
    ],
)
def test_a_page_knows_what_is_before_and_behind_it(
    at: Cursor | None, ids: list[UUID], more: bool, before: Cursor | None, behind: Cursor | None
) -> None:
    assert neighbours(at, ids, more=more) == (before, behind)


@pytest.mark.parametrize(
    ("at", "ids", "before", "behind"),
    [
        (None, [], None, Cursor(ONE)),
        (None, [THREE, TWO], None, Cursor(ONE)),
        (Cursor(THREE), [TWO], Cursor(TWO, newer=True), Cursor(ONE)),
        (Cursor(THREE), [], Cursor(TWO, newer=True), Cursor(ONE)),
    ],
)
def test_a_page_that_was_not_filled_leads_on_from_where_it_was_looked_for(
    at: Cursor | None, ids: list[UUID], before: Cursor | None, behind: Cursor | None
) -> None:
    assert neighbours(at, ids, more=True, end=ONE) == (before, behind)
    if at is not None:
        _, forth = neighbours(Cursor(ONE, newer=True), ids, more=True, end=THREE)
        assert neighbours(Cursor(ONE, newer=True), ids, more=True, end=THREE)[0] == Cursor(THREE, newer=True)
        assert forth == (Cursor(TWO) if not ids else Cursor(ids[-1]))


def test_a_cursor_tells_when_what_is_there_was_made() -> None:
    assert Cursor(UUID("01936ad0-6800-7000-8000-000000000000")).time == datetime(2024, 11, 26, 23, 31, 3, 296_000, UTC)


@pytest.mark.parametrize("number", [0, (1 << 128) - 1])
def test_the_first_and_the_last_place_have_neighbours_too(number: int) -> None:
    for newer in (True, False):
        assert neighbours(Cursor(UUID(int=number), newer), [], more=False) != (None, None)
