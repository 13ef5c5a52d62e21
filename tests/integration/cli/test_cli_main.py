"""What all commands have in common: help, errors in one line, the exit status."""

from __future__ import annotations

import pytest

from app.cli.printing import visible

_UNREACHABLE = "postgresql://wrapup:canary-password@127.0.0.1:1/wrapup"


async def test_help_names_every_command_and_version_is_the_packages(bare):
    helped = await bare("--help")
    assert helped.status == 0
    for command in ("up", "submit", "list", "show", "stats", "audit", "accounts", "keys", "doctor", "migrate"):
        assert f" {command} " in helped.out
    version = await bare("--version")
    assert (version.status, version.out) == (0, "wrapup 0.1.0\n")


async def test_called_wrongly_it_says_in_one_line_what_is_wrong_with_status_2(bare):
    unknown = await bare("lst")
    assert (unknown.status, unknown.out) == (2, "")
    assert unknown.err == "wrapup: No such command 'lst'. Did you mean 'list'. See `wrapup --help`.\n"
    option = await bare("list", "--state", "lost")
    assert option.status == 2
    assert option.err.startswith("wrapup: Invalid value for '--state'")
    assert option.err.endswith("See `wrapup list --help`.\n")


async def test_without_a_database_it_says_how_to_get_one(bare):
    ran = await bare("list")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("wrapup: There is no database: no `wrapup up` runs on .wrapup")
    assert "Start `wrapup up`" in ran.err
    assert ran.err.count("\n") == 1


async def test_a_database_that_is_not_there_is_told_in_one_line_without_its_password(wrapup):
    ran = await wrapup("stats", WRAPUP_DATABASE_URL=_UNREACHABLE)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("wrapup: The database can't be used: ")
    assert "Connection refused" in ran.err
    assert "canary-password" not in ran.err
    assert ran.err.count("\n") == 1


async def test_a_wrong_setting_is_named(wrapup):
    ran = await wrapup("list", WRAPUP_MAX_AGE="soon")
    assert ran.status == 1
    assert ran.err.startswith("wrapup: WRAPUP_MAX_AGE: ")
    assert ran.err.count("\n") == 1


async def test_a_database_is_migrated_by_the_command_that_its_lack_names(wrapup, empty_database):
    unmigrated = await wrapup("list", WRAPUP_DATABASE_URL=empty_database)
    assert (unmigrated.status, unmigrated.err) == (
        1,
        "wrapup: The database is not migrated. Run `wrapup migrate`.\n",
    )
    first = await wrapup("migrate", WRAPUP_DATABASE_URL=empty_database)
    assert first.status == 0
    assert first.out.startswith("empty -> ")
    revision = first.out.split()[-1]
    assert (await wrapup("migrate", WRAPUP_DATABASE_URL=empty_database)).out == f"{revision}: nothing to do\n"
    again = await wrapup("migrate", "--json", WRAPUP_DATABASE_URL=empty_database)
    assert again.json == {"before": revision, "after": revision}


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("नमस्ते क्‍ष", "नमस्ते क्‍ष"),  # with a joiner, which is a format character
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\r\nb\tc\x9b", r"a\r\nb\tc\x9b"),
        ("\u202egnihtemos", r"\u202egnihtemos"),
    ],
)
def test_nothing_that_a_terminal_would_obey_is_printed(text, seen):
    assert visible(text) == seen
