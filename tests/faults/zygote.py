"""Starts ``wrapup`` again and again without its imports, which take a second of a processor each time.

Reads a line of JSON for each start: ``words``, ``folder``, ``environment``, ``output``. Answers with the process id.
The process is a fork of this one in a session of its own, and dies with it.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys

import app.cli.api  # noqa: F401  ``main`` would load it only when it is asked for it
from app.cli.main import main
from workers.watchdog import die_with_parent


def _become(wanted: dict[str, object]) -> None:
    die_with_parent()
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(str(wanted["output"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(str(wanted["folder"]))
    os.environ.clear()
    os.environ.update(wanted["environment"])  # type: ignore[call-overload]
    sys.argv = ["wrapup", *wanted["words"]]  # type: ignore[misc]
    main()


signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
gc.freeze()
for line in sys.stdin:
    if (pid := os.fork()) == 0:
        _become(json.loads(line))
        os._exit(0)
    print(pid, flush=True)
