"""An HTTP answer as a value, and its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

import orjson

JSON = "application/json"
HTML = "text/html; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Page:
    """Status, headers and body of one answer."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def to_bytes(self, *, keep_alive: bool) -> bytes:
        """The answer as it goes over the wire."""
        head = _head(self.status, self.content_type, self.headers, keep_alive)
        return b"%b%d\r\n\r\n%b" % (head, len(self.body), self.body)

    def chunked_head(self) -> bytes:
        """The head of an answer whose length is not told beforehand, and which ends the connection."""
        head = _head(self.status, self.content_type, self.headers, False)
        return head.replace(b"content-length: ", b"transfer-encoding: chunked\r\n\r\n")


@lru_cache(maxsize=256)
def _head(status: int, content_type: str, headers: tuple[tuple[str, str], ...], keep_alive: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "server: cloudagent-sandbox",
        f"content-type: {content_type}",
        *(f"{name}: {value}" for name, value in headers),
        f"connection: {'keep-alive' if keep_alive else 'close'}",
        "content-length: ",
    ]
    return "\r\n".join(lines).encode("latin-1")


def json_page(content: object, status: int = 200) -> Page:
    """A page of JSON."""
    return Page(status, orjson.dumps(content))


def html_page(status: int, title: str, headers: tuple[tuple[str, str], ...] = ()) -> Page:
    """A page such as a web server or a proxy in front of CloudAgent shows."""
    body = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Page(status, body.encode(), HTML, headers)
