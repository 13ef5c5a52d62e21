"""The whole of Wrapup, as its users start it, in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installation import Wrapup


@pytest.fixture
def wrapup(tmp_path: Path) -> Iterator[Wrapup]:
    """The command ``wrapup`` with no setting at all, on a machine with a space in its paths."""
    command = Wrapup(tmp_path / "a machine", {})
    yield command
    command.end()
