"""Forms: what they come to, and which are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BodyError, InvalidInput, MalformedBody, UnsupportedBody
from app.web.forms import MAX_FIELDS, parse_form

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=----b0undary"


def part(name: str, value: str, *headers: str) -> bytes:
    lines = [f'Content-Disposition: form-data; name="{name}"', *headers, "", value]
    return ("------b0undary\r\n" + "\r\n".join(lines) + "\r\n").encode()


END = b"------b0undary--\r\n"


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"", {}),
        (b"ucid=12&agentID=a17", {"ucid": "12", "agentID": "a17"}),
        (b"comments=a+b%20c%2Bd%0D%0Ae", {"comments": "a b c+d\r\ne"}),
        ("comments=ग".encode(), {"comments": "ग"}),
        (b"comments=%E0%A4%97", {"comments": "ग"}),
        (b"comments=&did", {"comments": "", "did": ""}),
        (b"comments=100%&did=1=2", {"comments": "100%", "did": "1=2"}),
        (b"comments=a;b", {"comments": "a;b"}),
    ],
)
def test_an_urlencoded_form_is_read(raw: bytes, fields: dict[str, str]) -> None:
    assert parse_form(raw, URLENCODED) == fields


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"a=1&a=2", "the field 'a' twice"),
        (b"a=%00", "NUL"),
        (b"%00=a", "NUL"),
        (b"a=%FF", "not UTF-8"),
        (b"a=\xff", "not UTF-8"),
        (b"a=%C0%80", "not UTF-8"),
        (b"a=%ED%A0%80", "not UTF-8"),
        (b"&".join(b"f%d=1" % number for number in range(MAX_FIELDS + 1)), "more than 100 fields"),
        (b"&" * 60_000, "more than 100 fields"),
    ],
)
def test_an_urlencoded_form_that_is_ambiguous_or_too_much_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedBody, match=reason):
        parse_form(raw, URLENCODED)


def test_as_many_fields_as_the_limit_are_read() -> None:
    raw = b"&".join(b"f%d=1" % number for number in range(MAX_FIELDS))

    assert len(parse_form(raw, URLENCODED)) == MAX_FIELDS


def test_json_that_is_called_a_form_is_refused_with_the_right_type() -> None:
    with pytest.raises(UnsupportedBody, match="Send application/json"):
        parse_form(b' {"ucid": "12"}', URLENCODED)


def test_a_multipart_form_is_read() -> None:
    raw = (
        part("ucid", "12")
        + part("comments", "ग one\r\n--two", "Content-Type: text/plain; charset=utf-8")
        + part("did", "")
        + part("agentID", "a17", "Content-Transfer-Encoding: 8bit")
        + END
    )

    assert parse_form(raw, MULTIPART) == {
        "ucid": "12",
        "comments": "ग one\r\n--two",
        "did": "",
        "agentID": "a17",
    }
    assert parse_form(raw, 'Multipart/Form-Data; charset=utf-8; boundary="----b0undary"')


def test_a_multipart_form_without_fields_is_empty() -> None:
    assert parse_form(END, MULTIPART) == {}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "ends before its last boundary"),
        (part("a", "1"), "ends before its last boundary"),
        (b"ucid=12", "is not multipart/form-data, at byte 1"),
        (part("a", "1") + part("a", "2") + END, "the field 'a' twice"),
        (part("a", "\0") + END, "NUL"),
        (part("a", "1").replace(b"1", b"\xff") + END, "not UTF-8"),
        (part("a", "1").replace(b'"a"', b'"\xff"') + END, "not UTF-8"),
        (b"------b0undary\r\n\r\nx\r\n" + END, "without a field's name"),
        (part("a", "1").replace(b"form-data", b"attachment") + END, "without a field's name"),
        (b"".join(part(f"f{n}", "1") for n in range(MAX_FIELDS + 1)) + END, "more than 100 fields"),
        (part("a", "1", *(f"X-{n}: 1" for n in range(200))) + END, "is not multipart/form-data"),
    ],
)
def test_a_multipart_form_that_is_broken_or_ambiguous_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedBody, match=reason):
        parse_form(raw, MULTIPART)


def test_a_multipart_form_needs_a_boundary_that_can_be_one() -> None:
    with pytest.raises(MalformedBody, match="names no boundary"):
        parse_form(END, "multipart/form-data")
    with pytest.raises(MalformedBody, match="is not multipart/form-data"):
        parse_form(END, "multipart/form-data; boundary=" + "b" * 5000)


def test_a_file_is_refused_by_its_fields_name() -> None:
    raw = b'------b0undary\r\nContent-Disposition: form-data; name="upload"; filename="x"\r\n\r\nx\r\n' + END

    with pytest.raises(InvalidInput) as refused:
        parse_form(raw, MULTIPART)
    (fault,) = refused.value.faults
    assert (fault.field, fault.message) == ("upload", "upload is a file; send a text")


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_a_part_in_a_transfer_encoding_is_not_taken_for_its_text(encoding: str) -> None:
    with pytest.raises(UnsupportedBody, match="'a' is transfer-encoded"):
        parse_form(part("a", "MQ==", f"Content-Transfer-Encoding: {encoding}") + END, MULTIPART)


def test_what_is_no_form_is_refused() -> None:
    with pytest.raises(UnsupportedBody, match="'application/xml' is not taken"):
        parse_form(b"<a/>", "application/xml")


@given(
    st.dictionaries(
        st.text("abc", min_size=1), st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=5
    )
)
def test_any_texts_come_through_a_multipart_form_unchanged(fields: dict[str, str]) -> None:
    raw = b"".join(part(name, value) for name, value in fields.items()) + END

    assert parse_form(raw, MULTIPART) == fields


@given(st.binary(max_size=200), st.sampled_from([URLENCODED, MULTIPART]))
def test_any_bytes_are_a_form_or_refused(raw: bytes, content_type: str) -> None:
    try:
        fields = parse_form(END[:15] + raw if content_type == MULTIPART else raw, content_type)
    except (BodyError, InvalidInput):
        return
    assert all("\0" not in f"{name}{value}" for name, value in fields.items())
