"""Secrets that a command is given: on stdin, never as an argument, which everybody on the machine could see."""

from __future__ import annotations

import sys
from getpass import getpass

from app.domain.errors import Fault, InvalidInput
from app.secrets import Secret


def read_secret(field: str, prompt: str) -> Secret:
    """The first line of stdin; in a terminal it is asked for. Raises ``InvalidInput`` if it is not text."""
    if sys.stdin.isatty():
        return Secret(getpass(f"{prompt}: ").strip())
    try:
        return Secret(sys.stdin.buffer.readline().decode("utf-8-sig").strip())
    except UnicodeDecodeError:
        raise InvalidInput([Fault(field, "what came on stdin is not UTF-8 text.")]) from None
