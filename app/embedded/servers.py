"""``servers.json`` in the data dir: how a command beside ``wrapup up`` finds what that has started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from app.embedded.data_dir import write_private

_NAME = "servers.json"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where everything is, and the process id of each child by its name."""

    database_url: str
    broker_url: str
    api_url: str
    sandbox_url: str | None = None
    pids: Mapping[str, int] = field(default_factory=dict)

    def write(self, data_dir: Path) -> None:
        """Puts it where `read` finds it. The file is private: a URL may hold a password."""
        write_private(data_dir / _NAME, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, data_dir: Path) -> Servers | None:
        """What a running ``wrapup up`` wrote, or None if none runs on this data dir."""
        try:
            return cls(**json.loads((data_dir / _NAME).read_text()))
        except FileNotFoundError:
            return None

    @staticmethod
    def forget(data_dir: Path) -> None:
        """Removes the file, when all has stopped."""
        (data_dir / _NAME).unlink(missing_ok=True)
