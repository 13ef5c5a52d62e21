"""The documents say what the code says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest

from app.cli.main import run
from app.domain.durations import parse_duration
from app.domain.lifecycle import Cause, State
from app.domain.replies import REMEDIES, Remedy
from app.settings import Settings
from app.web.problems import METHOD_NOT_ALLOWED, PROBLEMS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()


def rows(text: str, start: str) -> Iterator[list[str]]:
    """The cells of the first table from ``start`` on, without its head."""
    lines = text[text.index(start) :].splitlines()
    table = takewhile(is_row, dropwhile(lambda line: not is_row(line), lines))
    for line in list(table)[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def is_row(line: str) -> bool:
    return line.startswith("|")


def anchors(text: str) -> set[str]:
    """What links may point at within a document."""
    headings = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(OPERATIONS, "## Settings")}
    assert set(documented) == {f"WRAPUP_{name.upper()}" for name in Settings.model_fields}
    defaults = Settings.model_construct()
    for variable, shown in documented.items():
        value = getattr(defaults, variable.removeprefix("WRAPUP_").lower())
        if isinstance(value, timedelta):
            assert parse_duration(shown) == value, variable
        elif value == []:
            assert shown == "", variable
        elif isinstance(value, list):
            assert [parse_duration(part) for part in shown.split(",")] == value, variable
        elif isinstance(value, bool):
            assert shown == str(value).lower(), variable
        else:
            assert shown == ("" if value is None else str(value)), variable


def test_every_variable_that_the_readme_names_is_a_setting() -> None:
    named = set(re.findall(r"WRAPUP_[A-Z_]+", (ROOT / "README.md").read_text()))
    assert named <= {f"WRAPUP_{name.upper()}" for name in Settings.model_fields}


def test_every_cause_of_a_failure_is_explained() -> None:
    explained = {cells[0].strip("`") for cells in rows(OPERATIONS, "## Why a disposition failed")}
    final = {outcome for outcome, remedy in REMEDIES.items() if remedy in (Remedy.FIX_DATA, Remedy.OTHER_FORMAT)}
    assert explained >= {*final, *Cause}


def test_every_outcome_that_holds_an_account_is_explained() -> None:
    explained = {cells[0].strip("`") for cells in rows(OPERATIONS, "## Accounts on hold")}
    assert explained >= {outcome for outcome, remedy in REMEDIES.items() if remedy is Remedy.FIX_ACCOUNT}


def test_every_outcome_that_is_tried_again_is_named() -> None:
    (sentence,) = re.findall(r"These outcomes of an attempt are tried again: ([^.]*)\.", OPERATIONS)
    assert set(re.findall(r"`(\w+)`", sentence)) == {
        outcome for outcome, remedy in REMEDIES.items() if remedy is Remedy.WAIT
    }


def test_every_problem_is_documented_as_it_is_answered() -> None:
    documented = {cells[0].strip("`"): (int(cells[1]), cells[2]) for cells in rows(API, "| `type`, after")}
    every = (*PROBLEMS.values(), METHOD_NOT_ALLOWED)
    problems = {problem.name: (problem.status, problem.title) for problem in every}
    assert documented == problems


def test_every_state_is_explained() -> None:
    assert [cells[0].strip("`") for cells in rows(API, "| `state` |")] == list(State)


def test_every_command_is_in_the_readme_and_every_one_that_is_named_exists(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(["--help"])
    commands = set(re.findall(r"(?m)^│ ([a-z]+) ", capsys.readouterr().out))
    assert len(commands) > 10
    readme = (ROOT / "README.md").read_text()
    assert {command for command in commands if not re.search(rf"`(wrapup )?{command}\b", readme)} == set()
    named = {name for document in DOCUMENTS for name in re.findall(r"`wrapup ([a-z]+)", document.read_text())}
    assert named <= commands


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        where = (document.parent / file) if file else document
        assert where.exists(), target
        assert not anchor or anchor in anchors(where.read_text()), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_is_named_is_there(document: Path) -> None:
    for name in re.findall(r"`((?:app|workers|tests|docs|migrations)/[\w./]*)`", document.read_text()):
        assert (ROOT / name).exists(), name
