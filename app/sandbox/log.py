"""What the sandbox saw: one record per request, in order of arrival, with every credential masked.

A record is complete, and in the log file if there is one, before its answer goes out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from app.sandbox.credentials import fingerprint

_SECRET_NAMES = frozenset({"apikey", "api_key", "token", "authorization"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REPLY_SHOWN_BYTES = 2000


def masked(parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters with each secret replaced by its fingerprint."""
    return {
        name: f"<fingerprint {fingerprint(value)}>" if name.lower() in _SECRET_NAMES else value
        for name, value in parameters.items()
    }


@dataclass(frozen=True, slots=True)
class Request:
    """One request to CloudAgent's API, and what became of it.

    `in_flight` counts the customer's requests under way at its arrival, itself included. `fault` is the step
    that was played, None for the right answer. `applied`: it changed what CloudAgent holds. `row` names the
    reply (`replies.py`) that CloudAgent made, None if the fault kept it from making one. `status` and `reply`
    are what was (to be) sent, None if nothing was. `credential` is `key`, `json_key`, `token` or None.
    """

    number: int
    arrived_wall_ns: int
    arrived_monotonic_ns: int
    method: str
    path: str
    parameters: Mapping[str, str]
    request_id: str | None
    customer: str = ""
    ucid: str = ""
    credential: str | None = None
    credential_right: bool = False
    credential_fingerprint: str | None = None
    in_flight: int = 0
    fault: str | None = None
    applied: bool = False
    row: str | None = None
    status: int | None = None
    reply: bytes | None = None

    @property
    def arrived_at(self) -> datetime:
        """Wall clock time of arrival, UTC, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self.arrived_wall_ns // 1000)

    def to_line(self) -> bytes:
        """The record as a line of NDJSON."""
        reply = None if self.reply is None else self.reply[:_REPLY_SHOWN_BYTES].decode("utf-8", "replace")
        return orjson.dumps(
            {
                "number": self.number,
                "arrived_at": self.arrived_at.isoformat(timespec="microseconds"),
                "arrived_monotonic_ns": self.arrived_monotonic_ns,
                "method": self.method,
                "path": self.path,
                "parameters": self.parameters,
                "request_id": self.request_id,
                "customer": self.customer,
                "ucid": self.ucid,
                "credential": self.credential,
                "credential_right": self.credential_right,
                "credential_fingerprint": self.credential_fingerprint,
                "in_flight": self.in_flight,
                "fault": self.fault,
                "applied": self.applied,
                "row": self.row,
                "status": self.status,
                "reply": reply,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )


class LogFile:
    """An append-only file of records. With `fsync`, lines that arrive together share one."""

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._fsync = fsync
        self._waiting: list[Callable[[], None]] = []
        self._syncing: asyncio.Task[None] | None = None

    def write(self, line: bytes, then: Callable[[], None]) -> None:
        """Appends the line, and calls `then` once it is written (and on disk, with `fsync`)."""
        os.write(self._file, line)
        if not self._fsync:
            then()
            return
        self._waiting.append(then)
        if self._syncing is None:
            self._syncing = asyncio.get_running_loop().create_task(self._sync())

    async def _sync(self) -> None:
        while self._waiting:
            released, self._waiting = self._waiting, []
            await asyncio.to_thread(os.fsync, self._file)
            for then in released:
                then()
        self._syncing = None

    async def close(self) -> None:
        """Ends with the last line on disk."""
        if self._syncing is not None:
            await self._syncing
        os.close(self._file)
