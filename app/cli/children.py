"""How ``wrapup up`` runs the other commands."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from app.cli.beside import environment
from app.embedded.addresses import Address
from app.embedded.processes import Command
from app.settings import Settings


def api_command(settings: Settings, address: Address) -> Command:
    """``wrapup api``. It is ready when it says that all of Wrapup is."""
    command = _wrapup(settings, "api", f"--host={address.host}", f"--port={address.port}")
    return replace(command, ready=lambda: address.answers("/health/ready"), ready_within=30, grace=25)


def worker_command(settings: Settings, processes: int | None) -> Command:
    """``wrapup worker``, with its own default number of processes for None."""
    options = () if processes is None else (f"--processes={processes}",)
    # Celery itself takes 2 s to end, and 5 more if the broker is frozen.
    return replace(_wrapup(settings, "worker", *options), grace=settings.longest_call + 10)


def scheduler_command(settings: Settings) -> Command:
    """``wrapup scheduler``."""
    return replace(_wrapup(settings, "scheduler"), grace=settings.longest_call + 5)


def sandbox_command(address: Address, *, customer: str, api_key: str) -> Command:
    """``wrapup sandbox``. It stands for somebody else's server: none of our settings are its business."""
    options = (f"--host={address.host}", f"--port={address.port}", f"--customer={customer}", "--api-key-stdin")
    return Command(
        name="sandbox",
        argv=_argv("sandbox", *options),
        env={name: value for name, value in os.environ.items() if not name.startswith("WRAPUP_")},
        stdin=f"{api_key}\n",
        ready=address.takes_connections,
        grace=3,
    )


def _wrapup(settings: Settings, *words: str) -> Command:
    return Command(name=words[0], argv=_argv(*words), env=os.environ | environment(settings))


def _argv(*words: str) -> tuple[str, ...]:
    # -P: a folder named app where the command is run is not ours.
    return (sys.executable, "-P", "-m", "app.cli", *words)
