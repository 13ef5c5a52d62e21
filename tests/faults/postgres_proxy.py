"""A proxy between Wrapup and PostgreSQL that knows where in its work a process is.

It speaks just enough of the wire protocol to tell one statement from the next. Each statement has two edges: before the
server gets it, and after the server has done it but before the reply is given. At an edge somebody else decides what
happens: nothing, a delay, a cut, or the death of the process behind the connection (``SO_PEERCRED`` says which it is).
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CANCEL = 80877102
_ENCRYPTION = (80877103, 80877104)  # SSL, GSS
_TABLES = "accounts|attempts|calls|count_deltas|counts|counts_by_minute|dispositions|events|idempotency_keys|keys|lanes"
_WRITES = re.compile(rf"\b(INSERT INTO|UPDATE|DELETE FROM)\s+({_TABLES})\b")
_READS = re.compile(rf"\b(?:FROM|JOIN)\s+({_TABLES})\b")


@dataclass(frozen=True)
class Edge:
    """A place in the work of a process: ``kind`` is api, worker or scheduler; ``done``: the server has done it."""

    kind: str
    statement: str
    done: bool

    def __str__(self) -> str:
        return f"{self.kind}: {'after' if self.done else 'before'} {self.statement}"


# Says whether the connection goes on. Called with the edge and the process at the other end.
AtEdge = Callable[[Edge, int], Awaitable[bool]]


def name(sql: str) -> str:
    """What a statement does, in a few words that stay the same: which tables it writes, else which it reads."""
    if writes := dict.fromkeys(f"{verb.split()[0]} {table}" for verb, table in _WRITES.findall(sql)):
        return ", ".join(writes)
    if reads := dict.fromkeys(_READS.findall(sql)):
        return f"{'LOCK' if 'FOR UPDATE' in sql else 'SELECT'} {', '.join(reads)}"
    return sql.split(None, 1)[0].upper() if sql.strip() else ""


class PostgresProxy:
    """Listens on a socket of its own, in ``folder``, and passes everything on to the one in ``server``."""

    def __init__(self, folder: Path, server: Path, at_edge: AtEdge) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        self._path = folder / server.name
        self._server_path = server
        self._at_edge = at_edge
        self._sessions: set[_Session] = set()
        self._listening: asyncio.Server | None = None

    async def start(self) -> None:
        self._listening = await asyncio.start_unix_server(self._serve, self._path)

    async def stop(self) -> None:
        assert self._listening is not None
        self._listening.close()
        self.cut()

    def cut(self) -> None:
        """Cuts all connections."""
        for session in list(self._sessions):
            session.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", peer)[0]
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(self._server_path)
        except OSError:
            writer.transport.abort()
            return
        session = _Session(pid, self._at_edge, reader, writer, server_reader, server_writer)
        self._sessions.add(session)
        try:
            with suppress(asyncio.CancelledError):  # all is over
                await session.run()
        finally:
            self._sessions.discard(session)


class _Session:
    """One connection."""

    def __init__(
        self,
        pid: int,
        at_edge: AtEdge,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        self._pid = pid
        self._at_edge = at_edge
        self._reader, self._writer = reader, writer
        self._server_reader, self._server_writer = server_reader, server_writer
        self._kind = ""
        self._prepared: dict[bytes, str] = {}
        self._last = ""  # what the transaction did last
        self._under_way: str | None = None

    def cut(self) -> None:
        self._writer.transport.abort()
        self._server_writer.transport.abort()

    async def run(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if await self._greet():
                both = [asyncio.create_task(self._requests()), asyncio.create_task(self._replies())]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                for task in both:
                    task.cancel()
                await asyncio.wait(both)
                for task in both:
                    if not task.cancelled() and isinstance(task.exception(), OSError | asyncio.IncompleteReadError):
                        continue
                    if not task.cancelled():
                        task.result()
        # What the server said last, such as why it goes, still has to arrive.
        for writer in (self._writer, self._server_writer):
            writer.close()

    async def _greet(self) -> bool:
        while True:
            length = await self._reader.readexactly(4)
            body = await self._reader.readexactly(int.from_bytes(length) - 4)
            code = int.from_bytes(body[:4])
            if code in _ENCRYPTION:
                self._writer.write(b"N")
                continue
            self._server_writer.write(length + body)
            words = body[4:].split(b"\0")
            names = dict(zip(words[::2], words[1::2], strict=False))
            self._kind = names.get(b"application_name", b"").decode().removeprefix("wrapup ")
            return code != _CANCEL

    async def _requests(self) -> None:
        unit: list[bytes] = []
        sql: str | None = None
        runs = False
        while True:
            kind, message = await _message(self._reader)
            unit.append(message)
            body = message[5:]
            if kind == b"P":
                statement, text = body.split(b"\0", 2)[:2]
                self._prepared[statement] = sql = text.decode(errors="replace")
            elif kind == b"B":
                sql = self._prepared.get(body.split(b"\0", 2)[1], sql)
            elif kind == b"Q":
                sql, runs = body[:-1].decode(errors="replace"), True
            elif kind == b"E":
                runs = True
            if kind not in b"SQXHdcf":
                continue
            if kind in b"SQ" and runs and sql is not None:
                self._under_way = self._name(sql)
                if self._under_way and not await self._goes_on(self._under_way, done=False):
                    return
            self._server_writer.write(b"".join(unit))
            unit, sql, runs = [], None, False

    async def _replies(self) -> None:
        unit: list[bytes] = []
        while True:
            try:
                kind, message = await _message(self._server_reader)
            except (OSError, asyncio.IncompleteReadError):
                self._writer.write(b"".join(unit))
                raise
            unit.append(message)
            if self._under_way is not None and kind != b"Z":
                continue
            if self._under_way:
                statement, self._under_way = self._under_way, None
                if not await self._goes_on(statement, done=True):
                    return
            self._under_way = None
            self._writer.write(b"".join(unit))
            unit = []

    def _name(self, sql: str) -> str:
        did = name(sql)
        if did in ("COMMIT", "ROLLBACK"):
            return f"{did} after {self._last}"
        self._last = did
        return did

    async def _goes_on(self, statement: str, *, done: bool) -> bool:
        if await self._at_edge(Edge(self._kind, statement, done), self._pid):
            return True
        self.cut()
        return False


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(int.from_bytes(head[1:]) - 4)


def peer_of(port: int, among: Iterator[int]) -> int | None:
    """The process, one of ``among``, that has this local TCP port of IPv4; None if none has."""
    wanted = f":{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1].endswith(wanted) and columns[9] != "0":
            link = f"socket:[{columns[9]}]"
            for pid in among:
                with suppress(OSError):
                    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                        with suppress(OSError):
                            if str(descriptor.readlink()) == link:
                                return pid
    return None
