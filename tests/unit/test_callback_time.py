"""Call-back times: the forms that are taken, what they come to, and why others are not."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.callback_time import (
    CallbackFormat,
    format_callback_time,
    has_passed,
    parse_callback_time,
    time_zone,
)
from app.domain.errors import InvalidInput

KOLKATA = ZoneInfo("Asia/Kolkata")
BERLIN = ZoneInfo("Europe/Berlin")
HALF_PAST_TEN = datetime(2026, 11, 25, 10, 30)  # noqa: DTZ001  a wall time has no offset


def message_of(text: str, zone: ZoneInfo = KOLKATA) -> str:
    with pytest.raises(InvalidInput) as refused:
        parse_callback_time(text, zone)
    (fault,) = refused.value.faults
    assert fault.field == "callback_time"
    return fault.message


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-25 10:30:00",
        "2026-11-25 10:30",
        "2026-11-25T10:30:00",
        "2026-11-25T10:30",
        "2026-11-25t10:30:00",
        "2026-11-25T10:30:00.000",
        "2026-11-25T10:30:00.999999999",
        "2026-11-25T10:30:00,5",
        "11/25/2026 10:30:00",
        "11/25/2026 10:30",
        "2026-11-25T10:30:00+05:30",
        "2026-11-25T10:30:00+0530",
        "2026-11-25 10:30:00 +05:30",
        "2026-11-25T05:00:00Z",
        "2026-11-25T05:00:00z",
        "2026-11-25T05:00:00.000Z",
        "2026-11-25T05:00Z",
        "2026-11-25T06:00:00+01",
        "2026-11-24T21:00:00-08:00",
    ],
)
def test_every_form_names_the_same_wall_time(text: str) -> None:
    moment = parse_callback_time(text, KOLKATA)

    assert moment == HALF_PAST_TEN
    assert moment.tzinfo is None
    assert moment.microsecond == 0


def test_an_offset_is_converted_to_the_zone_of_the_call_back() -> None:
    assert parse_callback_time("2026-07-01T12:00:00Z", BERLIN).hour == 14
    assert parse_callback_time("2026-12-01T12:00:00Z", BERLIN).hour == 13


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-02-29 10:30:00", "is no real date"),
        ("02/30/2026 10:30:00", "is no real date"),
        ("2026-13-01 10:30:00", "is no real date"),
        ("2026-00-10 10:30:00", "is no real date"),
        ("0000-01-01 10:30:00", "is no real date"),
        ("2026-11-25 10:60:00", "is no real date"),
        ("2026-11-25 10:30:60", "is no real date"),
        ("2026-11-25T10:30:00+24:00", "is no real date"),
        ("25/11/2026 10:30:00", "dates with slashes are mm/dd/yyyy"),
        ("2026-11-25 24:00:00", "is not a date and time"),
        ("2026-11-25", "add the time of day: 2026-11-25 10:30:00"),
        ("11/25/2026", "add the time of day"),
        ("2026-11-25T10:30:00 05:30", "write it as %2B"),
        ("2026-11-25 10:30:00 PM", "write it like"),
        ("2026-11-25 10:30.5", "write it like"),
        ("2026-11-25 10", "write it like"),
        ("2026-11-25T10:30:00[Asia/Kolkata]", "write it like"),
        ("2026-1-5 10:30:00", "write it like"),
        ("1/5/2026 10:30:00", "write it like"),
        ("20261125T103000Z", "write it like"),
        ("1795584600", "write it like"),
        ("tomorrow", "write it like"),
        ("٢٠٢٦-11-25 10:30:00", "write it like"),
        ("2026-11-25 10:30:00\n", "write it like"),
        ("", "write it like"),
        ("1999-12-31 23:59:59", "years 2000 to 2100"),
        ("2101-01-01 00:00:00", "years 2000 to 2100"),
        ("9999-12-31T23:59:59-23:59", "years 2000 to 2100"),
        ("0001-01-01T00:00:00+23:59", "years 2000 to 2100"),
        ("2100-12-31T23:59:59Z", "years 2000 to 2100"),  # the year after, in Kolkata
    ],
)
def test_what_is_not_a_time_is_refused_with_the_reason(text: str, reason: str) -> None:
    assert reason in message_of(text)


def test_a_long_text_is_shown_shortened() -> None:
    assert len(message_of("x" * 5000)) < 250


@pytest.mark.parametrize(
    ("text", "zone", "instead"),
    [
        ("2026-03-29 02:30:00", "Europe/Berlin", "2026-03-29 03:30:00"),
        ("03/08/2026 02:00:00", "America/New_York", "2026-03-08 03:00:00"),
        ("2011-12-30 12:00:00", "Pacific/Apia", "2011-12-31 12:00:00"),  # a day that Samoa left out
    ],
)
def test_a_time_that_the_clocks_skip_is_refused_with_the_one_that_may_be_meant(
    text: str, zone: str, instead: str
) -> None:
    message = message_of(text, ZoneInfo(zone))

    assert f"does not exist in {zone}" in message
    assert f"write {instead}" in message


def test_a_time_that_the_clocks_show_twice_is_the_first() -> None:
    moment = parse_callback_time("2026-10-25 02:30:00", BERLIN)

    assert moment.replace(tzinfo=BERLIN).utcoffset() == timedelta(hours=2)


def test_an_offset_may_name_either_of_the_two_and_the_wall_time_is_the_same() -> None:
    first = parse_callback_time("2026-10-25T02:30:00+02:00", BERLIN)
    second = parse_callback_time("2026-10-25T02:30:00+01:00", BERLIN)

    assert first == second
    assert (first.fold, second.fold) == (0, 0)


def test_the_fault_names_the_field_as_the_caller_called_it() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_callback_time("soon", KOLKATA, field="callBackTime")

    (fault,) = refused.value.faults
    assert fault.field == "callBackTime"
    assert fault.message.startswith("callBackTime 'soon' is not")


@pytest.mark.parametrize(
    ("form", "text"),
    [(CallbackFormat.YMD, "2026-01-05 09:08:07"), (CallbackFormat.MDY, "01/05/2026 09:08:07")],
)
def test_cloudagent_gets_one_of_its_two_forms(form: CallbackFormat, text: str) -> None:
    assert format_callback_time(datetime(2026, 1, 5, 9, 8, 7), form) == text  # noqa: DTZ001


def test_the_other_format_of_each_is_the_other_one() -> None:
    assert CallbackFormat.YMD.other is CallbackFormat.MDY
    assert CallbackFormat.MDY.other is CallbackFormat.YMD
    assert CallbackFormat("mdy") is CallbackFormat.MDY


@pytest.mark.parametrize("name", ["Asia/Kolkata", "Asia/Calcutta", "Europe/Berlin", "UTC", "Etc/GMT+5"])
def test_iana_names_are_zones(name: str) -> None:
    assert time_zone(name).key == name


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("asia/kolkata", "did you mean Asia/Kolkata?"),
        ("Kolkata", "did you mean Asia/Kolkata?"),
        ("America/New York", "did you mean America/New_York?"),
        ("IST", "write one such as Asia/Kolkata"),
        ("+05:30", "write one such as"),
        ("Asia", "write one such as"),
        ("Asia/", "write one such as"),
        ("../../etc/passwd", "write one such as"),
        ("/etc/localtime", "write one such as"),
        ("Asia/../Asia/Kolkata", "write one such as"),
        ("posix/Asia/Kolkata", "write one such as"),
        ("right/Asia/Kolkata", "write one such as"),
        ("localtime", "write one such as"),
        ("Factory", "write one such as"),
        ("zone.tab", "write one such as"),
        ("Asia/Kolkata\0", "write one such as"),
        ("\ud800", "write one such as"),
        ("x" * 5000, "write one such as"),
    ],
)
def test_what_is_not_an_iana_name_is_refused(name: str, advice: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        time_zone(name, field="callBackTimeZone")

    (fault,) = refused.value.faults
    assert fault.field == "callBackTimeZone"
    assert advice in fault.message
    assert len(fault.message) < 250
    fault.message.encode()


@given(
    st.datetimes(datetime(2000, 1, 2), datetime(2100, 12, 30)),  # noqa: DTZ001
    st.sampled_from([KOLKATA, BERLIN, ZoneInfo("America/Sao_Paulo"), ZoneInfo("Australia/Lord_Howe")]),
)
def test_any_instant_comes_back_as_its_wall_time_in_the_zone(naive: datetime, zone: ZoneInfo) -> None:
    instant = naive.replace(microsecond=0, tzinfo=UTC)
    there = instant.astimezone(zone).replace(tzinfo=None, fold=0)

    assert parse_callback_time(instant.isoformat(), zone) == there
    for form in CallbackFormat:
        assert parse_callback_time(format_callback_time(there, form), zone) == there


@given(st.text(max_size=60) | st.from_regex(r"[0-9/: TZ+.-]{8,30}", fullmatch=True))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        moment = parse_callback_time(text, BERLIN)
    except InvalidInput as refused:
        messages = [fault.message for fault in refused.faults]
    else:
        messages = []
        assert 2000 <= moment.year <= 2100

    assert all(message.isprintable() for message in messages)


@pytest.mark.parametrize(
    ("zone", "now", "passed"),
    [
        (None, "2026-11-25T04:59:59Z", False),  # half past ten in Kolkata is five in Greenwich
        (None, "2026-11-25T05:00:00Z", True),
        ("Europe/London", "2026-11-25T10:29:59Z", False),
        ("Europe/London", "2026-11-25T10:30:00Z", True),
        ("America/New_York", "2026-11-25T15:29:59Z", False),
    ],
)
def test_a_time_has_passed_when_the_clocks_of_its_zone_show_it(zone: str | None, now: str, passed: bool) -> None:
    assert has_passed(HALF_PAST_TEN, zone, datetime.fromisoformat(now)) is passed
