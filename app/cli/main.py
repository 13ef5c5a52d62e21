"""The command ``wrapup``: its subcommands, and what becomes of their errors.

Exit status: 0 done, 1 failed (one line on stderr says why and what to do), 2 called wrongly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer

from app.cli.printing import complain
from app.domain.errors import InvalidInput, WrapupError

# Each with the module (below app.cli) and the name in it: a command, or a group of commands. In the order of --help.
_COMMANDS = {
    "up": "up:up",
    "submit": "submit:submit",
    "list": "dispositions:list_dispositions",
    "show": "dispositions:show",
    "retry": "actions:retry",
    "resend": "actions:resend",
    "cancel": "actions:cancel",
    "replay": "replay:replay",
    "replays": "replay:replays",
    "schedules": "schedules:schedules",
    "failures": "failures:failures",
    "stats": "stats:stats",
    "audit": "audit:audit",
    "accounts": "accounts:accounts",
    "keys": "keys:keys",
    "users": "users:users",
    "doctor": "doctor:doctor",
    "migrate": "migrate:migrate",
    "api": "api:api",
    "worker": "worker:worker",
    "scheduler": "worker:scheduler",
    "sandbox": "sandbox:sandbox",
}


def main() -> None:
    """The console script: runs what the command line asks for, and exits."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Runs one command line; gives the exit status."""
    try:
        status = _command_line(words)(args=list(words), prog_name="wrapup", standalone_mode=False)
        sys.stdout.flush()  # what can't be written is to be told, too
    except typer.TyperException as error:
        return _told_usage(error)
    except InvalidInput as error:
        complain(_faults(error))
        return 2
    except WrapupError as error:
        complain(str(error))
    except typer.Abort:
        complain("stopped.")
    except BrokenPipeError:  # the reader has left: nothing is to be said
        _abandon_stdout()
    except OSError as error:
        complain(f"{error}.")
        _abandon_stdout()
    else:
        return int(status or 0)
    return 1


def _abandon_stdout() -> None:
    """What can't be written is not tried again when the interpreter closes its files."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _command_line(words: Sequence[str]) -> typer.Typer:
    """All commands; or only the one that is asked for, since importing them all takes a second."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_wrapup)
    wanted = [words[0]] if words and words[0] in _COMMANDS else list(_COMMANDS)
    for name in wanted:
        module, _, attribute = _COMMANDS[name].partition(":")
        found = getattr(import_module(f"app.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wrapup {version('wrapup')}")
        raise typer.Exit


def _wrapup(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Gets call dispositions from CRMs into CloudAgent, or says exactly why not."""


def _told_usage(error: typer.TyperException) -> int:
    """One line in place of typer's box. Called without a subcommand, its help has been shown already."""
    message = error.format_message().replace("Value error, ", "", 1)  # pydantic's word for a value that is not one of
    if message:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "wrapup"
        complain(f"{message.rstrip('.?')}. See `{command} --help`.")
    return error.exit_code


def _faults(error: InvalidInput) -> str:
    """All that is wrong, in one line."""
    lines = [
        fault.message if fault.message.startswith(fault.field) else f"{fault.field}: {fault.message}"
        for fault in error.faults
    ]
    return "; ".join([*(line.removesuffix(".") for line in lines[:-1]), lines[-1]])
