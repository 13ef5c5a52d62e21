"""Lines of a body that arrives as a stream, whatever its length."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect

from app.domain.errors import BodyTooLarge, SlowBody


async def read_lines(chunks: AsyncIterator[bytes], *, longest: int, patience: float) -> AsyncIterator[bytes]:
    """The lines without their ends; empty ones are passed over.

    Raises ``BodyTooLarge`` for a line of more than ``longest`` bytes and ``SlowBody`` if nothing arrives for
    ``patience`` seconds. A sender that hangs up ends the lines; what it did not end with a line break is dropped.
    """
    rest = b""
    while True:
        try:
            async with asyncio.timeout(patience):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise SlowBody(f"Nothing arrived for {patience:g} seconds. What was answered is stored.") from None
        except ClientDisconnect:
            return
        if chunk is None:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if len(line) > longest:
                raise BodyTooLarge(longest)
            if line.strip():
                yield line
        if len(rest) > longest:
            raise BodyTooLarge(longest)
    if rest.strip():
        yield rest
