"""Runs the command in a process that has its imports behind it.

They take a second, and are the same each time. multiprocessing's fork server does them once; each command is then
a fork of it, with streams, folder and environment of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    ["app.cli.main", "app.cli.dispositions", "app.cli.submit", "app.cli.doctor", "app.cli.migrate"]
)


def forked(words: Sequence[str], folder: Path, environment: Mapping[str, str], streams: Path) -> ForkServerProcess:
    """Starts ``wrapup`` with the words; its stdin, stdout and stderr are the files of these names in ``streams``."""
    process = _server.Process(target=_run, args=(list(words), folder, dict(environment), streams))
    process.start()
    return process


def _run(words: list[str], folder: Path, environment: dict[str, str], streams: Path) -> None:
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        with (streams / name).open(mode) as file:
            os.dup2(file.fileno(), number)
        setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["wrapup", *words]
    from app.cli.main import main

    main()
