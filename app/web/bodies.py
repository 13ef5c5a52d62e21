"""Reading a request's body without trusting it: how much, how long, and what the bytes may mean.

A body that two readers could understand in two ways is refused: duplicated keys, NaN, bad UTF-8, lone
surrogates. What is refused raises a `BodyError`; its messages say where, and never show what the body holds.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from json import JSONDecoder
from typing import Any

import orjson
from fastapi import Request

from app.domain.errors import (
    BodyTooLarge,
    Fault,
    InvalidInput,
    MalformedBody,
    SlowBody,
    UnsupportedBody,
)
from app.domain.refusals import kind, shortened
from app.web.auth import services_of
from app.web.forms import parse_form

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""What gives the next message of an ASGI request."""

WHOLE = "wrapup.whole"
"""In an ASGI scope: all of the request's body is here already."""

MAX_DEPTH = 20
"""Levels of objects and lists in a JSON body."""

_PASSED_OVER_MOST = 1024 * 1024  # bytes of a body that is too large

_BOM = b"\xef\xbb\xbf"
_JSON_TYPE = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json|text/(?:json|plain)")
_CHARSET = re.compile(r""";\s*charset\s*=\s*"?([^\s;"]*)""", re.IGNORECASE)


async def body_of(request: Request, *, limit: int | None = None) -> bytes:
    """The whole body of a request, within the settings' time and size, or ``limit`` bytes. Raises as `read_body`."""
    settings = services_of(request).settings
    return await read_body(
        request.scope,
        request.receive,
        limit=settings.max_body_bytes if limit is None else limit,
        timeout_seconds=settings.body_timeout.total_seconds(),
    )


async def read_body(
    scope: Mapping[str, Any],
    receive: Receive,
    *,
    limit: int,
    timeout_seconds: float,
) -> bytes:
    """The whole body of an ASGI request, at most ``limit`` bytes, arrived within ``timeout_seconds`` in all.

    Raises `BodyTooLarge` (before reading, if the request declares it; else as soon as the limit is passed),
    `SlowBody`, `UnsupportedBody` for a compressed body, `MalformedBody` if the sender hangs up.
    """
    _check_headers(scope, limit)
    parts: list[bytes] = []
    if WHOLE in scope:  # nothing to wait for, and a timer costs as much as reading the JSON
        await _read_parts(receive, limit, parts)
    else:
        try:
            async with asyncio.timeout(timeout_seconds) as deadline:
                await _read_parts(receive, limit, parts)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise SlowBody(
                f"Only {sum(map(len, parts))} bytes of the body arrived in {timeout_seconds:g} s. "
                "Send it again, faster."
            ) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _read_parts(receive: Receive, limit: int, parts: list[bytes]) -> None:
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedBody(f"The body ended after {size} bytes, before it was complete.")
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            if message.get("more_body", False):
                await _pass_over(receive)
            raise BodyTooLarge(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return


async def _pass_over(receive: Receive) -> None:
    """Reads on and throws away, within reason: who is cut off in the middle of its body may never see the answer."""
    left = _PASSED_OVER_MOST
    while left > 0:
        message = await receive()
        if not message.get("more_body", False):
            return
        left -= len(message.get("body", b""))


def parse_body(raw: bytes, content_type: str) -> dict[str, object]:
    """The fields of a JSON or a form body, as its ``Content-Type`` says; without one it is JSON.

    Raises `UnsupportedBody` for other types and for a charset that is not UTF-8, and what the parsers raise.
    """
    if is_json(content_type):
        return parse_json_object(raw)
    return parse_form(raw, content_type)


def is_json(content_type: str) -> bool:
    """True if a ``Content-Type`` says JSON, or nothing. Raises `UnsupportedBody` for a charset that is not UTF-8."""
    media_type = content_type.partition(";")[0].strip().lower()
    charset = _CHARSET.search(content_type)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedBody(f"The charset '{shortened(charset[1])}' is not taken. Send UTF-8.")
    return not media_type or _JSON_TYPE.fullmatch(media_type) is not None


def parse_json_object(raw: bytes) -> dict[str, object]:
    """The object that ``raw`` holds as JSON: UTF-8, a byte-order mark is passed over.

    Raises `MalformedBody` for what is not JSON, duplicated keys, NUL and more than `MAX_DEPTH` levels, and
    `InvalidInput` for JSON that is not an object. Numbers beyond 64 bits come out as floats.
    """
    if raw.startswith(_BOM):
        raw = raw[len(_BOM) :]
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(_why_not_json(raw, error)) from None
    if not isinstance(document, dict):
        raise InvalidInput([Fault("body", f"the body must be a JSON object, not {kind(document)}")])
    if _strings_in_text(raw) != _strings_in(document):
        raise MalformedBody(f"The body has the key '{_duplicated_key(raw)}' twice in one object. Send it once.")
    return document


def _check_headers(scope: Mapping[str, Any], limit: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            # A length of 20 digits needs no conversion to be too large, and a longer one may not convert.
            if value.isdigit() and (len(value) > 19 or int(value) > limit):
                raise BodyTooLarge(limit)
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            encoding = shortened(value.decode("latin-1"))
            raise UnsupportedBody(f"The content encoding '{encoding}' is not taken. Send it uncompressed.")


# orjson is the fastest reader and strict, but of duplicated keys it silently keeps the last. A dropped pair
# takes at least one string with it, its key. So there was none exactly if the text has as many strings as the
# result, and both can be counted quickly.


def _strings_in_text(raw: bytes) -> int:
    """The number of string tokens in a valid JSON text: half of the quotes that are not escaped."""
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"")  # first, so that what is left of a backslash escapes what follows
        if b"\\u0000" in raw:
            raise MalformedBody("The body has a NUL character (\\u0000) in a text. Leave it out.")
        raw = raw.replace(b'\\"', b"")
    return raw.count(b'"') // 2


def _strings_in(document: dict[str, object]) -> int:
    """The number of strings in a parsed document, keys included. Raises `MalformedBody` if it is too deep."""
    count = 0
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            if type(node) is dict:
                count += len(node)
                node = node.values()
            for value in node:
                if type(value) is str:
                    count += 1
                elif type(value) is dict or type(value) is list:
                    below.append(value)
        if not below:
            return count
        level = below
    raise _too_deep()


def _duplicated_key(raw: bytes) -> str:
    """The first key that comes twice in one object of a valid JSON text that has one."""
    found: list[str] = []

    def look(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    try:
        JSONDecoder(object_pairs_hook=look).decode(raw.decode())
    except RecursionError:  # in a value that orjson dropped, so its depth was not looked at
        raise _too_deep() from None
    return shortened(found[0])


def _too_deep() -> MalformedBody:
    return MalformedBody(f"The body has more than {MAX_DEPTH} levels of objects and lists.")


def _why_not_json(raw: bytes, error: orjson.JSONDecodeError) -> str:
    if not raw.strip():
        return "The body is empty. Send a JSON object."
    try:
        raw.decode()
    except UnicodeDecodeError as bad:
        return f"The body is not UTF-8: byte {bad.start + 1} begins no valid character."
    return f"The body is not JSON: {error.msg}, at line {error.lineno}, column {error.colno}."
