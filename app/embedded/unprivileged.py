"""Whom PostgreSQL runs as. It refuses to run as root, so for root it is run as somebody who is not.

Best in a user namespace where root is called nobody: the files stay root's, and no user is needed. Where the
system refuses namespaces, as many containers do, it really is run as nobody, and its folders become nobody's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.domain.errors import ConfigurationError

_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class RunAs:
    """What makes a command run as the right user."""

    prefix: tuple[str, ...] = ()
    """Words before the command."""
    uid: int | None = None
    """The user and group of the process, and the owner of its folders; None for the present one."""


def run_as(folder: Path, program: Path) -> RunAs:
    """Whom ``program`` runs as, so that ``folder`` (which may not be there yet) can be its own.

    Raises ``ConfigurationError`` if the folder is somebody else's, or if neither way for root is open.
    """
    user = os.geteuid()
    owner = folder.stat().st_uid if folder.exists() else None
    if owner not in (None, user) and not (user == 0 and owner == _NOBODY):
        raise ConfigurationError(
            f"{folder} belongs to user {owner}, and this is user {user}. Run as that user, or give another --data-dir."
        )
    if user != 0:
        return RunAs()
    if owner != _NOBODY and (prefix := _namespace()):
        _check_open(0, folder, program)
        return RunAs(prefix=prefix)
    if owner == 0:
        raise ConfigurationError(
            f"{folder} was made by root in a user namespace, which is refused now (see `unshare --user`). "
            f"Run as an ordinary user with another --data-dir, or hand it over: chown -R {_NOBODY} '{folder}'"
        )
    _check_open(_NOBODY, folder.parent, program)
    folder.parent.chmod(0o711)  # nobody has to pass through it, to the folders that are nobody's
    return RunAs(uid=_NOBODY)


def _namespace() -> tuple[str, ...] | None:
    """The words before a command that put it into a user namespace, or None where that is refused."""
    if not (unshare := shutil.which("unshare")):
        return None
    prefix = (unshare, "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--")
    tried = subprocess.run((*prefix, "true"), capture_output=True, check=False)  # noqa: S603  # it is ours
    return prefix if tried.returncode == 0 else None


def _check_open(user: int, *paths: Path) -> None:
    """Either way the process lacks root's power to pass closed folders: better told now than by a riddle."""
    for parent in (parent for path in paths for parent in path.parents if parent.exists()):
        status = parent.stat()
        # nobody's group has the number of nobody, and root's of root
        search = 0o100 if status.st_uid == user else 0o010 if status.st_gid == user else 0o001
        if not status.st_mode & search:
            raise ConfigurationError(
                f"PostgreSQL can't run as root, and without root's powers {parent} is closed to it "
                f"(mode {status.st_mode & 0o777:o}, user {status.st_uid}). Run as an ordinary user, or have "
                "Wrapup and its --data-dir in folders that are open to others, or set WRAPUP_DATABASE_URL."
            )
