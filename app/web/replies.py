"""What the API sends: JSON by orjson, times in UTC with a Z."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

JSON_OPTIONS = orjson.OPT_UTC_Z


class JSONReply(JSONResponse):
    """A JSON answer. Encodes datetimes, UUIDs and enums by itself, several times faster than the default."""

    def render(self, content: Any) -> bytes:
        """The content as JSON."""
        return orjson.dumps(content, option=JSON_OPTIONS)


class DuplexReply(StreamingResponse):
    """A streamed answer to a streamed body. The default listens for a hang-up while it sends, and swallows the body
    with it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer as it comes."""
        await self.stream_response(send)
