"""Reading bodies: what is read, what is refused, and that no bytes whatever do anything else."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import (
    BodyTooLarge,
    InvalidInput,
    MalformedBody,
    SlowBody,
    UnsupportedBody,
    WrapupError,
)
from app.web.bodies import MAX_DEPTH, parse_body, parse_json_object, read_body

Receive = Callable[[], Awaitable[dict[str, Any]]]


def arriving(*parts: bytes, then: dict[str, Any] | None = None) -> Receive:
    """The ASGI ``receive`` of a request whose body comes in these parts, and ``then`` after them."""

    async def messages() -> AsyncIterator[dict[str, Any]]:
        for number, part in enumerate(parts, start=1):
            more = number < len(parts) or then is not None
            yield {"type": "http.request", "body": part, "more_body": more}
        if then is not None:
            yield then
        await asyncio.Event().wait()  # a body that is over is not to be waited for

    return messages().__anext__


def request(**headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http", "headers": named}


async def read(receive: Receive, *, limit: int = 10, timeout_seconds: float = 5, **headers: str) -> bytes:
    return await read_body(request(**headers), receive, limit=limit, timeout_seconds=timeout_seconds)


# -- reading


@pytest.mark.parametrize(
    "parts",
    [[b"0123456789"], [b"01234", b"56789"], [b"", b"0123456789", b""], [b"%d" % n for n in range(10)]],
)
async def test_a_body_up_to_the_limit_is_read_whole(parts: list[bytes]) -> None:
    assert await read(arriving(*parts)) == b"0123456789"


async def test_no_body_is_an_empty_one() -> None:
    assert await read(arriving(b"")) == b""


async def test_a_body_that_declares_too_much_is_refused_before_it_is_read() -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is to be read")

    for length in ("11", "9" * 20, "9" * 5000):
        with pytest.raises(BodyTooLarge) as refused:
            await read(receive, content_length=length)
        assert refused.value.limit == 10


async def test_a_body_that_declares_nothing_is_refused_as_soon_as_it_passes_the_limit() -> None:
    endless = arriving(b"012345", b"6789a", then={"type": "http.disconnect"})

    with pytest.raises(BodyTooLarge):
        await read(endless, transfer_encoding="chunked")


async def test_a_body_that_declares_less_than_it_sends_is_refused_all_the_same() -> None:
    with pytest.raises(BodyTooLarge):
        await read(arriving(b"0123456789a"), content_length="3")


async def test_a_body_that_does_not_arrive_in_time_is_refused() -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(SlowBody, match=r"Only 0 bytes of the body arrived in 0\.01 s"):
        await read(receive, timeout_seconds=0.01)


async def test_the_time_is_counted_over_all_parts_and_not_for_each() -> None:
    async def drip() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"", "more_body": True}

    with pytest.raises(SlowBody):
        await asyncio.wait_for(read(drip, timeout_seconds=0.1), 10)


async def test_a_timeout_of_somebody_else_is_not_called_a_slow_body() -> None:
    async def receive() -> dict[str, Any]:
        raise TimeoutError("the server's own")

    with pytest.raises(TimeoutError, match="the server's own"):
        await read(receive)


async def test_a_sender_that_hangs_up_is_told_apart_from_the_end() -> None:
    with pytest.raises(MalformedBody, match="ended after 4 bytes"):
        await read(arriving(b"0123", then={"type": "http.disconnect"}))


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "GZIP", "identity, gzip", "x\xff"])
async def test_a_compressed_body_is_refused(encoding: str) -> None:
    with pytest.raises(UnsupportedBody, match="Send it uncompressed"):
        await read(arriving(b"x"), content_encoding=encoding)


@pytest.mark.parametrize("encoding", ["identity", " Identity ", ""])
async def test_a_body_that_says_it_is_not_compressed_is_read(encoding: str) -> None:
    assert await read(arriving(b"x"), content_encoding=encoding) == b"x"


# -- JSON


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"ucid": "1234567890123456", "n": 1, "f": 1.5, "t": True, "z": None},
        {"a": {"a": {"a": "a"}}, "b": [{"a": 1}, {"a": 2}]},
        {"a": 'colons: and "quotes", back\\slashes \\\\ \\" and \\', '"': '\\"', "\\": "\\\\u0000"},
        {"a\nb": "ग्राहक 👩‍👩‍👧", "": ""},
    ],
)
def test_an_object_is_read_in_any_notation(document: dict[str, Any]) -> None:
    for text in (
        json.dumps(document),
        json.dumps(document, ensure_ascii=False),
        json.dumps(document, indent=2),
        f"\ufeff\r\n {json.dumps(document)} \n",
    ):
        assert parse_json_object(text.encode()) == document


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":1}',
        b'{"a":"x","a":"y"}',
        b'{"a":1,"b":2,"a":null}',
        b'{"a" : 1, "a" :\n2}',
        b'{"a":1,"\\u0061":2}',
        b'{"b":{"a":1,"a":2}}',
        b'{"b":[{"c":[{"a":1,"a":2}]}]}',
        b'{"a":":","a":"\\u003a"}',
        b'{"a":"\\"","a":"\\\\"}',
        b'{"a":"\\u0022","a":"\\\\\\"\\\\"}',
        b'{"a":{"x":"y"},"a":[]}',
        '{"ग":1,"ग":2}'.encode(),
        b'{"a":1,"n":' + b"9" * 300 + b',"a":2}',
    ],
)
def test_a_key_that_comes_twice_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(MalformedBody, match=r"has the key '[aग]' twice in one object"):
        parse_json_object(raw)


def test_an_empty_key_that_comes_twice_is_refused() -> None:
    with pytest.raises(MalformedBody, match="has the key '' twice"):
        parse_json_object(b'{"":1,"":2}')


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "The body is empty"),
        (b" \n", "The body is empty"),
        (b"\xef\xbb\xbf", "The body is empty"),
        (b"{", "at line 1, column 2"),
        (b'{"a":1,\n"b":}', "at line 2, column 5"),
        (b"hello", "is not JSON"),
        (b"a=1&b=2", "is not JSON"),
        (b"{'a':1}", "is not JSON"),
        (b'{"a":1,}', "is not JSON"),
        (b'{"a":1} {"b":2}', "is not JSON"),
        (b'{"a":01}', "is not JSON"),
        (b'{"a":.5}', "is not JSON"),
        (b'{"a":NaN}', "is not JSON"),
        (b'{"a":Infinity}', "is not JSON"),
        (b'{"a":-Infinity}', "is not JSON"),
        (b'{"a":1e999}', "is not JSON"),
        (b'{"a":"x\ny"}', "is not JSON"),
        (b'{"a":"\x00"}', "is not JSON"),
        (b'{"a":1}\x00', "is not JSON"),
        (b'{"a":"\\x41"}', "is not JSON"),
        (b'{"a":"\\ud800"}', "is not JSON"),
        (b'{"a":"\\udc00\\ud800"}', "is not JSON"),
        (b'{"a":"\\u0000"}', "NUL"),
        (b'{"\\u0000":"a"}', "NUL"),
        (b'{"a":"\xff"}', "is not UTF-8: byte 7 begins no valid character"),
        (b'{"a":"\xc0\x80"}', "is not UTF-8"),  # an overlong NUL
        (b'{"a":"\xed\xa0\x80"}', "is not UTF-8"),  # half of a surrogate pair
        ('{"a":1}'.encode("utf-16"), "is not UTF-8"),
        (b'{"a":' * 2000, "is not JSON"),
    ],
)
def test_what_is_not_json_is_refused_with_the_place(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedBody, match=reason):
        parse_json_object(raw)


def test_a_refused_body_is_not_shown() -> None:
    with pytest.raises(MalformedBody) as refused:
        parse_json_object(b'{"apiKey":"KK-canary"')

    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"[]", "a list"),
        (b'"x"', "text"),
        (b"7", "a number"),
        (b"null", "null"),
        (b"true", "true"),
        (b'[{"a":1}]', "a list"),
    ],
)
def test_json_that_is_not_an_object_is_wrong_input(raw: bytes, what: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_json_object(raw)

    (fault,) = refused.value.faults
    assert fault.field == "body"
    assert fault.message == f"the body must be a JSON object, not {what}"


def nested(levels: int) -> bytes:
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


def test_a_body_may_be_nested_up_to_a_limit() -> None:
    assert parse_json_object(nested(MAX_DEPTH))
    assert parse_json_object(b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}")


@pytest.mark.parametrize(
    "raw",
    [
        nested(MAX_DEPTH + 1),
        nested(500),
        b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
        b'{"a":' + b"[" * 1000 + b"]" * 1000 + b',"a":1}',  # in a value that a later one replaces
    ],
)
def test_a_body_that_is_nested_deeper_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedBody, match="more than 20 levels"):
        parse_json_object(raw)


def test_numbers_beyond_64_bits_are_read_as_floats() -> None:
    assert parse_json_object(b'{"a":18446744073709551616}') == {"a": 2.0**64}


# -- which reader


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/vnd.crm.event+json",
        "text/json",
        "text/plain",
    ],
)
def test_json_is_read_under_each_of_its_types(content_type: str) -> None:
    assert parse_body(b'{"a":"b"}', content_type) == {"a": "b"}


def test_a_form_is_read_as_a_form() -> None:
    assert parse_body(b"a=b", "application/x-www-form-urlencoded; charset=utf-8") == {"a": "b"}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/xml",
        "text/html",
        "application/octet-stream",
        "application/jsonx",
        "json",
        "application/json; charset=utf-16",
        "application/x-www-form-urlencoded; charset=windows-1252",
    ],
)
def test_other_types_and_charsets_are_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedBody, match=r"is not taken\. Send"):
        parse_body(b'{"a":"b"}', content_type)


# -- properties

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, DOCUMENTS, max_size=5), st.booleans())
def test_every_object_without_a_duplicated_key_is_read(document: dict[str, Any], ascii_only: bool) -> None:
    assert parse_json_object(json.dumps(document, ensure_ascii=ascii_only).encode()) == document


@given(st.lists(st.tuples(st.sampled_from(["a", 'b"', "c\\", "d:"]), DOCUMENTS), max_size=4), st.integers(0, 3))
def test_duplicated_keys_are_found_at_any_depth(pairs: list[tuple[str, Any]], depth: int) -> None:
    text = "{" + ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs) + "}"
    raw = (text if depth == 0 else '{"x":[' * depth + text + "]}" * depth).encode()

    if len({key for key, _ in pairs}) == len(pairs):
        assert parse_json_object(raw) == json.loads(raw)
    else:
        with pytest.raises(MalformedBody, match="twice"):
            parse_json_object(raw)


@given(
    st.binary(max_size=60)
    | st.text(st.sampled_from('{}[]":,\\u0e1-+.truefalsn \n'), max_size=40).map(str.encode)
    | DOCUMENTS.map(lambda document: json.dumps(document).encode()[:-1]),
    st.sampled_from(["", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"])
    | st.text(st.characters(max_codepoint=255), max_size=30),
)
def test_any_bytes_are_read_or_refused(raw: bytes, content_type: str) -> None:
    try:
        fields = parse_body(raw, content_type)
    except WrapupError as refused:
        assert str(refused).isprintable()  # noqa: PT017
    else:
        assert isinstance(fields, dict)
