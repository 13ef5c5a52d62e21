"""The folder that ``wrapup up`` keeps everything in, and the private files there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.fernet import Fernet

from app.domain.errors import ConfigurationError


@contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """Makes the folder if it is missing, and holds it for this process alone. The lock ends with the process.

    Raises ``ConfigurationError`` if it can't be made or used, or if another process holds it.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("a+")
    except OSError as error:
        raise ConfigurationError(f"{data_dir} can't be used: {error}. Give another --data-dir.") from None
    with lock:
        if (owner := data_dir.stat().st_uid) != os.geteuid():
            raise ConfigurationError(
                f"{data_dir} belongs to user {owner}, and this is user {os.geteuid()}. "
                "Run as that user, or give another --data-dir."
            )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ConfigurationError(
                f"`wrapup up` is already running on {data_dir} (process {lock.read().strip() or 'unknown'}). "
                "Stop it, or give another --data-dir and --port."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def secret_key(data_dir: Path) -> str:
    """The Fernet key of this data dir, made at its first use and never again.

    Raises ``ConfigurationError`` if it is gone while a database is there: what it encrypted would be lost.
    """
    path = data_dir / "secret.key"
    if path.exists():
        return path.read_text().strip()
    if (data_dir / "postgres").exists():
        raise ConfigurationError(
            f"{path} is missing, and the database beside it holds apiKeys that only this key decrypts. "
            "Put it back, or set WRAPUP_SECRET_KEYS to the key that was used."
        )
    key = Fernet.generate_key().decode()
    write_private(path, key + "\n")
    return key


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, whole or not at all, and durably."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
