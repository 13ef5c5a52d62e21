"""Where the servers' Unix sockets are."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from app.domain.errors import ConfigurationError

_LONGEST = 85  # bytes of the folder's path: a socket's whole path may have about 104, its file name has up to 18
_PLAIN = re.compile(r"[\w./+-]*", re.ASCII)  # needs no quoting in a URL, in a setting or on a command line


def socket_folder(wanted: Path, owner: int | None = None) -> Path:
    """A folder for sockets that only its owner (a user id; the present user if None) can enter.

    It is ``wanted``; or, if that path is too long for a socket or needs quoting, one in the temporary folder
    with a name that is always the same for that path. Raises ``ConfigurationError`` if it is somebody else's.
    """
    folder = wanted.absolute()
    if len(os.fsencode(folder)) > _LONGEST or not _PLAIN.fullmatch(str(folder)):
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"wrapup-{os.geteuid()}-{digest}"
    owner = os.geteuid() if owner is None else owner
    try:
        folder.mkdir(mode=0o700)
        os.chown(folder, owner, -1)
    except FileExistsError:
        status = folder.lstat()
        if (stat.S_ISDIR(status.st_mode), stat.S_IMODE(status.st_mode), status.st_uid) != (
            True,
            0o700,
            owner,
        ):
            raise ConfigurationError(
                f"{folder} must be a folder of user {owner} with mode 700, since it holds the sockets of our "
                "servers. Remove it, and start again."
            ) from None
    return folder
