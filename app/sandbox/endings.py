"""How an answer leaves, or does not: one function for each `Ending`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.sandbox.faults import MEBIBYTE, Ending
from app.sandbox.latency import parse_duration
from app.sandbox.pages import Page
from app.sandbox.wire import Connection

_CHUNK = b"x" * (64 * 1024)


def _whole(connection: Connection, page: Page, keep_alive: bool, _: str) -> None:
    connection.write(page.to_bytes(keep_alive=keep_alive))
    connection.finish()


def _reset(connection: Connection, page: Page, keep_alive: bool, _: str) -> None:
    connection.reset()


def _hang(connection: Connection, page: Page, keep_alive: bool, _: str) -> None:
    """Nothing more happens until the client leaves."""


def _half(connection: Connection, page: Page, keep_alive: bool, _: str) -> None:
    whole = page.to_bytes(keep_alive=keep_alive)
    connection.write(whole[: len(whole) - len(page.body) // 2])
    connection.close()


def _noise(connection: Connection, page: Page, keep_alive: bool, _: str) -> None:
    connection.write(page.body)
    connection.close()


def _drip(connection: Connection, page: Page, keep_alive: bool, interval: str) -> None:
    connection.run(_drip_bytes(connection, page.to_bytes(keep_alive=keep_alive), parse_duration(interval)))


async def _drip_bytes(connection: Connection, content: bytes, interval: float) -> None:
    for at in range(len(content)):
        connection.write(content[at : at + 1])
        await asyncio.sleep(interval)
    connection.finish()


def _stream(connection: Connection, page: Page, keep_alive: bool, mebibytes: str) -> None:
    connection.run(_stream_chunks(connection, page, int(mebibytes) * MEBIBYTE))


async def _stream_chunks(connection: Connection, page: Page, size: int) -> None:
    connection.write(page.chunked_head() + _chunk(page.body))
    for _ in range(0, size, len(_CHUNK)):
        await connection.drained()
        connection.write(_chunk(_CHUNK))
    connection.write(_chunk(b'"}') + _chunk(b""))
    connection.close()


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


ENDINGS: dict[Ending, Callable[[Connection, Page, bool, str], None]] = {
    Ending.WHOLE: _whole,
    Ending.RESET: _reset,
    Ending.HANG: _hang,
    Ending.HALF: _half,
    Ending.NOISE: _noise,
    Ending.DRIP: _drip,
    Ending.STREAM: _stream,
}
