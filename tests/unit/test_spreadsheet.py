"""What stands in a cell is what was stored, and nothing of it is run."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.spreadsheet import cell, line


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "true"),
        (41, "41"),
        (-0.5, "-0.5"),
        (UUID(int=0xABC), "00000000-0000-0000-0000-000000000abc"),
        (datetime(2026, 11, 25, 16, 0, tzinfo=timezone(timedelta(hours=5.5))), "2026-11-25T10:30:00Z"),
        (["client:crm", "hubspot"], "client:crm; hubspot"),
        (["=1+1"], "'=1+1"),
        ("Sale", "Sale"),
        ("नमस्ते", "नमस्ते"),
        ("", ""),
    ],
)
def test_a_value_is_written_plainly(value: object, shown: str) -> None:
    assert cell(value) == shown


@pytest.mark.parametrize(
    "text", ["1234567890123456", "918012345678", "+918012345678", "007", "1-2", "1/2", "3E5", "10:30", "1,5", "-7", "0"]
)
def test_a_text_that_a_spreadsheet_would_take_for_a_number_or_a_date_stays_that_text(text: str) -> None:
    assert cell(text) == f'="{text}"'


@pytest.mark.parametrize(
    "text",
    ["=HYPERLINK(1)", "+SUM(1)", "-x", "@A1", "\t=1", "\r=1", "\n=1", "\uff1d1", "=1", '="1"', "+1+cmd|' /C calc'!A0"],
)
def test_a_text_that_a_spreadsheet_would_run_is_shown_instead(text: str) -> None:
    assert cell(text) == f"'{text}"


@given(st.lists(st.text(), min_size=1))
def test_no_cell_begins_like_a_formula_but_for_our_own_texts(texts: list[str]) -> None:
    (row,) = csv.reader(io.StringIO(line(texts), newline=""))
    assert len(row) == len(texts)
    for text, shown in zip(texts, row, strict=True):
        assert shown in (text, f"'{text}", f'="{text}"')
        if shown[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"):
            assert shown == f'="{text}"'
            assert not set(text) - set("0123456789+-.,:/ eE")
