"""HTTP/1.1 as bytes, no sockets: a request out, a reply in."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from app.cloudagent.credentials import SecretHeader, SecretQuery
from app.cloudagent.failures import NotSent

_TARGET = re.compile(rb"/[\x21-\x7e]*")

_HEAD_LIMIT = 32 * 1024  # bytes of status line and headers, give or take one read
_FRAMING_FACTOR = 8  # bytes on the wire per byte of body: chunks of one byte cost six


def request_bytes(request: httpx.Request) -> memoryview:
    """The whole request, with its secret put in. Raises ``NotSent`` if something in it would break a line.

    A memoryview, because it shows no content in a traceback with locals, here or in the event loop. For the
    same reason everything is checked before the secret goes in, and no name is bound to the clear bytes.
    """
    target: bytes = request.extensions.get("target", request.url.raw_path)
    secret: SecretQuery | SecretHeader | None = request.extensions.get("wrapup.secret")
    headers = request.headers.raw
    if not _TARGET.fullmatch(target):
        raise NotSent("the request's target has spaces or control characters, or does not start with /")
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if not lines.count(b"\r") == lines.count(b"\n") == len(headers) or b"\0" in lines:
        raise NotSent("one of the request's headers has a line break in it")
    path, _, query = target.partition(b"?")
    return memoryview(
        b"".join(
            (
                request.method.encode("ascii"),
                b" ",
                path,
                b"?" if query or isinstance(secret, SecretQuery) else b"",
                secret.parameter() if isinstance(secret, SecretQuery) else b"",
                b"&" if query and isinstance(secret, SecretQuery) else b"",
                query,
                b" HTTP/1.1\r\n",
                lines,
                secret.line() if isinstance(secret, SecretHeader) else b"",
                b"\r\n",
                request.content,
            )
        )
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as it came: the body freed of its framing and of nothing else, cut off if ``too_large``."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    too_large: bool


class NotHttp(Exception):
    """What came is not a reply that HTTP/1.1 allows. The text says what is wrong with it."""


class ReplyReader:
    """Reads the replies of one connection, one after the other. Interim replies (1xx) are skipped.

    After ``feed``, look at ``ended``; a ``reply()`` can be taken then.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body = max_body_bytes
        self._parser = HttpResponseParser(self)
        self.expect()

    def expect(self) -> None:
        """Get ready for the next reply."""
        self.wire_bytes = 0
        self.ended = False
        self._complete = False
        self._keep_alive = False
        self._too_large = False
        self._start_over()

    def _start_over(self) -> None:
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_complete = False
        self._body = bytearray()

    @property
    def reusable(self) -> bool:
        """True if the reply ended where it said it would, and the server takes another request."""
        return self._complete and self._keep_alive

    def feed(self, data: bytes) -> None:
        """Take what came from the socket; raises ``NotHttp``."""
        self.wire_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise NotHttp("it switches to another protocol") from None
        except HttpParserError as error:
            if not self._complete:
                raise NotHttp(str(error)) from None
            self._keep_alive = False  # more bytes than one reply: nobody can tell what they answer
        if not self._head_complete and self.wire_bytes > _HEAD_LIMIT:
            raise NotHttp(f"its headers are larger than {_HEAD_LIMIT} bytes")
        if self.wire_bytes > _HEAD_LIMIT + _FRAMING_FACTOR * self._max_body:
            self._too_large = True
        self.ended = self._complete or self._too_large

    def end_of_stream(self) -> bool:
        """The server closed its side: True if that is how this reply ends (no length, no chunks)."""
        if self._head_complete and not self.ended and self._ends_with_connection():
            self.ended = True
        return self.ended

    def reply(self) -> Reply:
        """The reply that has ended."""
        return Reply(self._status, self._headers, bytes(self._body), self._too_large)

    def _ends_with_connection(self) -> bool:
        framing = {name.lower(): value.lower() for name, value in self._headers}
        chunked = framing.get(b"transfer-encoding", b"").endswith(b"chunked")
        return b"content-length" not in framing and not chunked

    # Called by the parser. An error raised here stops it.

    def on_message_begin(self) -> None:
        if self._complete:
            raise NotHttp("it goes on after its end")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_complete:  # a trailer is no header
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._keep_alive = self._parser.should_keep_alive()
        self._head_complete = True

    def on_body(self, data: bytes) -> None:
        room = self._max_body - len(self._body)
        self._too_large = self._too_large or len(data) > room
        self._body += data[:room]

    def on_message_complete(self) -> None:
        if self._status < 200:
            self._start_over()
        else:
            self._complete = True
