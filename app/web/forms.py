"""Form bodies: urlencoded and multipart. What comes out is as from JSON: names and texts, each name once."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError, ParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.domain.errors import Fault, InvalidInput, MalformedBody, UnsupportedBody
from app.domain.refusals import shortened

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELDS = 100
"""In one form. A disposition has 14."""


def parse_form(raw: bytes, content_type: str, *, better: str = "application/json") -> dict[str, object]:
    """The fields of a form. Raises `UnsupportedBody` if ``content_type`` is neither kind of form,
    `MalformedBody` for bad UTF-8, NUL, a field that comes twice or more than `MAX_FIELDS`, and `InvalidInput`
    for a file. ``better``: what to send in place of a body that is no form.
    """
    media_type, options = parse_options_header(content_type)
    if media_type == b"application/x-www-form-urlencoded":
        pairs = _urlencoded(raw, better)
    elif media_type == b"multipart/form-data":
        pairs = _multipart(raw, options.get(b"boundary", b""))
    else:
        shown = shortened(media_type.decode("latin-1"))
        raise UnsupportedBody(f"The content type '{shown}' is not taken. Send {better}.")
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            raise MalformedBody(f"The form has the field '{shortened(name)}' twice. Send it once.")
        if "\0" in name or "\0" in value:
            raise MalformedBody(f"The form has a NUL character in the field '{shortened(name)}'. Leave it out.")
        fields[name] = value
    return fields


def _urlencoded(raw: bytes, better: str) -> list[tuple[str, str]]:
    if raw.lstrip().startswith((b"{", b"[")):  # curl -d '{…}' calls everything a form
        raise UnsupportedBody(f"The content type says form, the body looks like JSON. Send {better}.")
    if raw.count(b"&") >= MAX_FIELDS:
        raise _too_many()
    try:
        return parse_qsl(raw.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise MalformedBody("The form is not UTF-8. Encode it so, and then with %XX.") from None


def _multipart(raw: bytes, boundary: bytes) -> list[tuple[str, str]]:
    if not boundary:
        raise MalformedBody("The content type multipart/form-data names no boundary.")
    parts = _Parts()
    try:
        MultipartParser(boundary, parts.callbacks()).write(raw)
    except FormParserError as error:
        where = f", at byte {error.offset + 1}" if isinstance(error, ParseError) else ""
        raise MalformedBody(f"The body is not multipart/form-data{where}.") from None
    if not parts.complete:
        raise MalformedBody("The body ends before its last boundary.")
    try:
        return [(name.decode(), value.decode()) for name, value in parts.fields]
    except UnicodeDecodeError:
        raise MalformedBody("The form is not UTF-8.") from None


class _Parts:
    """Collects what the parser of multipart bodies finds. It gets the body in one piece."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False
        self._headers: dict[bytes, bytes] = {}
        self._header = b""
        self._value = b""

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all,
        }

    def _begin(self) -> None:
        if len(self.fields) == MAX_FIELDS:
            raise _too_many()
        self._headers, self._value = {}, b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header = data[start:end].lower()

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._headers[self._header] = data[start:end]

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise MalformedBody("The form has a part without a field's name.")
        shown = shortened(name.decode(errors="replace"))
        if b"filename" in options:
            raise InvalidInput([Fault(shown, f"{shown} is a file; send a text")])
        # RFC 7578 took encodings away. An encoded text is not to be stored as if it were the text itself.
        encoding = self._headers.get(b"content-transfer-encoding", b"binary").strip().lower()
        if encoding not in (b"7bit", b"8bit", b"binary"):
            raise UnsupportedBody(f"The field '{shown}' is transfer-encoded. Send it plainly, as UTF-8.")
        self.fields.append((name, self._value))

    def _all(self) -> None:
        self.complete = True


def _too_many() -> MalformedBody:
    return MalformedBody(f"The form has more than {MAX_FIELDS} fields.")
