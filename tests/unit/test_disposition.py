"""What a caller may ask of a disposition, and how it is told everything that is wrong."""

import json
import unicodedata
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.disposition import (
    FIELDS,
    MAX_ENCODED_BYTES,
    NewDisposition,
    fingerprint,
    parse_disposition,
)
from app.domain.errors import InvalidInput

LEAST: dict[str, object] = {
    "account": "acme",
    "ucid": "1234567890123456",
    "did": "918012345678",
    "agent_id": "a17",
    "disposition": "Sale",
}

EVERYTHING: dict[str, object] = LEAST | {
    "comments": "wants the blue one\nand a call back",
    "action": "set",
    "callback_time": "2026-11-25 10:30:00",
    "callback_time_zone": "Europe/Berlin",
    "pause_after_dispose": True,
    "pause_reason": "Lunch",
    "occurred_at": "2026-11-24T18:00:00.25+05:30",
    "max_age_seconds": 3600,
    "reference": "deal-7",
}


def faults_of(sent: dict[str, object]) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        parse_disposition(sent)
    return {fault.field: fault.message for fault in refused.value.faults}


def fault_of(name: str, value: object) -> str:
    """The message for a request in which only this field is wrong."""
    faults = faults_of(LEAST | {name: value})
    assert list(faults) == [name]
    return faults[name]


def test_a_whole_request_is_taken() -> None:
    assert parse_disposition(EVERYTHING) == NewDisposition(
        account="acme",
        ucid="1234567890123456",
        did="918012345678",
        agent_id="a17",
        disposition="Sale",
        comments="wants the blue one\nand a call back",
        callback_time=datetime(2026, 11, 25, 10, 30),  # noqa: DTZ001  a wall time has no offset
        callback_time_zone="Europe/Berlin",
        pause_after_dispose=True,
        pause_reason="Lunch",
        occurred_at=datetime(2026, 11, 24, 12, 30, 0, 250_000, tzinfo=UTC),
        max_age=timedelta(hours=1),
        reference="deal-7",
    )


def test_the_least_request_leaves_the_rest_absent() -> None:
    wanted = parse_disposition(LEAST)

    assert wanted.pause_after_dispose is False
    absent = {field.name for field in fields(wanted) if getattr(wanted, field.name) is None}
    assert absent == {
        "comments",
        "callback_time",
        "callback_time_zone",
        "pause_reason",
        "occurred_at",
        "max_age",
        "reference",
    }


def test_cloudagents_own_names_ask_for_the_same() -> None:
    renamed = {field.alias or field.name: EVERYTHING[field.name] for field in FIELDS}

    assert set(renamed) >= {
        "customer",
        "agentID",
        "callBackTime",
        "callBackTimeZone",
        "pauseAfterDispose",
        "pauseReason",
    }
    assert parse_disposition(renamed) == parse_disposition(EVERYTHING)


def test_a_name_and_its_alias_may_both_come_with_the_same_value() -> None:
    both = LEAST | {"agentID": " a17 ", "pause_after_dispose": True, "pauseAfterDispose": "yes"}

    assert parse_disposition(both) == parse_disposition(LEAST | {"pause_after_dispose": True})


def test_a_name_and_its_alias_must_not_differ() -> None:
    assert faults_of(LEAST | {"agentID": "b2"}) == {
        "agentID": "agentID differs from agent_id, its other name; send one of them"
    }


def test_an_empty_name_leaves_the_word_to_its_alias() -> None:
    assert parse_disposition(LEAST | {"agent_id": "", "agentID": "b2"}).agent_id == "b2"


def test_a_wrong_value_beside_its_alias_is_one_fault() -> None:
    assert list(faults_of(LEAST | {"account": 7, "customer": "acme"})) == ["account"]
    assert list(faults_of({"customer": 7} | LEAST)) == ["customer"]


@pytest.mark.parametrize("empty", [None, "", "  \t "])
def test_an_empty_optional_field_is_absent(empty: object) -> None:
    optional = {field.name: empty for field in FIELDS if not field.required}

    assert parse_disposition(LEAST | optional) == parse_disposition(LEAST)


@pytest.mark.parametrize("name", ["account", "ucid", "did", "agent_id", "disposition"])
def test_a_required_field_must_be_there_and_hold_something(name: str) -> None:
    without = {key: value for key, value in LEAST.items() if key != name}

    assert faults_of(without)[name].startswith(f"{name} is missing: ")
    for empty in (None, "", "  "):
        assert faults_of(LEAST | {name: empty})[name].startswith(f"{name} is empty: ")


def test_an_empty_required_field_is_named_as_it_was_sent() -> None:
    sent = {key: value for key, value in LEAST.items() if key != "agent_id"} | {"agentID": ""}

    assert list(faults_of(sent)) == ["agentID"]


def test_the_account_may_be_left_to_what_the_caller_is_bound_to() -> None:
    without = {key: value for key, value in LEAST.items() if key != "account"}

    assert parse_disposition(without, bound_account="bound").account == "bound"
    assert parse_disposition(without | {"customer": None}, bound_account="bound").account == "bound"
    assert parse_disposition(LEAST, bound_account="bound").account == "acme"


def test_every_fault_is_told_at_once() -> None:
    faults = faults_of(
        {
            "ucid": "12345678901234567890",
            "did": "+91 80",
            "disposition": " ",
            "action": "get",
            "callback_time": "2026-02-30 10:00:00",
            "callback_time_zone": "Mars/Olympus",
            "pause_after_dispose": "perhaps",
            "occurred_at": "yesterday",
            "max_age_seconds": 0,
            "colour": "blue",
        }
    )

    assert set(faults) == {
        "account",
        "ucid",
        "did",
        "agent_id",
        "disposition",
        "action",
        "callback_time",
        "callback_time_zone",
        "pause_after_dispose",
        "occurred_at",
        "max_age_seconds",
        "colour",
    }
    assert all(message.startswith(name) for name, message in faults.items())


# -- the call


@pytest.mark.parametrize("value", ["1", "0", "1234567890123456789", " 1234567890123456 "])
def test_a_ucid_is_up_to_19_digits(value: str) -> None:
    assert parse_disposition(LEAST | {"ucid": value}).ucid == value.strip()


def test_a_ucid_of_20_digits_is_refused_with_what_cloudagent_would_do() -> None:
    message = fault_of("ucid", "12345678901234567890")

    assert "has 20 digits; CloudAgent takes at most 19" in message
    assert "'retry after some time' for ever" in message
    assert "not the monitorUCID" in message


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("12ab", "'12ab' has something in it that is not a digit"),
        ("-5", "not a digit"),
        ("12 34", "not a digit"),
        ("١٢٣", "not a digit"),
        ("12\n34", r"'12\n34'"),
        ("abcdefghijklmnopqrstuvwxyz", "has 26 characters"),
        ("1.23457E+15", "was rounded, by a spreadsheet perhaps"),
        (1234567890123456, "send it as text, in quotes"),
        (1.2345678901234568e29, "send it as text, in quotes"),
        (True, "must be text, not true"),
        (["1"], "must be text, not a list"),
    ],
)
def test_a_ucid_that_is_not_digits_as_text_is_refused(value: object, reason: str) -> None:
    assert reason in fault_of("ucid", value)


@pytest.mark.parametrize("value", ["918012345678", "+918012345678", "007", "12345678901234567890"])
def test_a_did_is_kept_as_given(value: str) -> None:
    assert parse_disposition(LEAST | {"did": f" {value}\n"}).did == value


@pytest.mark.parametrize("value", ["+", "+91 80 1234", "91-80", "++91", "91+", "(80)", "1" * 21, "९१"])
def test_a_did_with_anything_else_is_refused(value: str) -> None:
    assert "is not 1 to 20 digits, with or without a leading +" in fault_of("did", value)


def test_a_did_as_a_number_is_refused() -> None:
    assert fault_of("did", 918012345678) == "did must be text, not a number: put it in quotes"


# -- texts


@pytest.mark.parametrize(
    ("name", "longest"),
    [("agent_id", 100), ("disposition", 200), ("comments", 2000), ("reference", 200), ("pause_reason", 100)],
)
def test_a_text_has_a_limit(name: str, longest: int) -> None:
    at_limit = parse_disposition(LEAST | {name: f" {'x' * longest} "})

    assert getattr(at_limit, name) == "x" * longest
    message = fault_of(name, "x" * (longest + 1))
    assert message == f"{name} has {longest + 1} characters; at most {longest} are taken"


@pytest.mark.parametrize("name", ["account", "agent_id", "disposition", "comments", "pause_reason", "reference"])
@pytest.mark.parametrize("value", [7, 1.5, True, [], ["x"], {}, {"a": 1}])
def test_a_text_must_be_text(name: str, value: object) -> None:
    assert f"{name} must be text, not" in fault_of(name, value)


@pytest.mark.parametrize("name", ["account", "agent_id", "disposition", "comments", "pause_reason", "reference"])
@pytest.mark.parametrize("code_point", [0x00, 0x07, 0x1B, 0x1F, 0x7F, 0x85, 0x9F, 0xD800, 0xDFFF])
def test_control_characters_and_halves_of_characters_are_refused(name: str, code_point: int) -> None:
    message = fault_of(name, f"a{chr(code_point)}b")

    assert f"U+{code_point:04X} at position 2" in message
    assert message.isprintable()


@pytest.mark.parametrize("character", ["\n", "\t", "\r"])
def test_line_ends_and_tabs_are_for_comments_only(character: str) -> None:
    assert "control character" in fault_of("disposition", f"a{character}b")
    assert parse_disposition(LEAST | {"comments": f"a{character}b"}).comments in ("a\nb", "a\tb")


def test_the_line_ends_of_forms_become_plain_ones() -> None:
    assert parse_disposition(LEAST | {"comments": "a\r\nb\rc\nd"}).comments == "a\nb\nc\nd"


@pytest.mark.parametrize("text", ["ग्राहक", "مشتری", "👩‍👩‍👧", "a\u200db", "naïve", "'; DROP", "<b>&amp;", "%41+%20"])
def test_texts_of_every_script_are_kept_as_they_are(text: str) -> None:
    assert parse_disposition(LEAST | {"comments": text}).comments == text


def test_all_texts_together_must_fit_into_cloudagents_url() -> None:
    fits = "क" * 600
    too_long = "क" * 700

    assert parse_disposition(LEAST | {"comments": fits}).comments == fits
    message = fault_of("comments", too_long)
    assert f"{9 * 700} of them from comments" in message
    assert f"at most {MAX_ENCODED_BYTES}" in message


def test_the_reference_does_not_travel_and_does_not_count() -> None:
    assert parse_disposition(LEAST | {"comments": "क" * 600, "reference": "क" * 200}).reference


# -- the other rules


@pytest.mark.parametrize("value", ["set", "SET", " Set "])
def test_the_action_set_may_be_said(value: str) -> None:
    assert parse_disposition(LEAST | {"action": value}) == parse_disposition(LEAST)


@pytest.mark.parametrize("value", ["get", "sets", 1, True, ["set"]])
def test_no_other_action_is_possible(value: object) -> None:
    assert "only 'set' is possible" in fault_of("action", value)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (True, True),
        ("true", True),
        ("TRUE", True),
        ("1", True),
        ("yes", True),
        (False, False),
        ("false", False),
        ("0", False),
        ("No", False),
    ],
)
def test_pausing_is_a_truth_value_or_a_forms_word_for_one(value: object, wanted: bool) -> None:
    assert parse_disposition(LEAST | {"pause_after_dispose": value}).pause_after_dispose is wanted


@pytest.mark.parametrize("value", ["on", "t", 1, 0, 1.0, [], {}])
def test_pausing_is_nothing_else(value: object) -> None:
    assert "it must be true or false" in fault_of("pause_after_dispose", value)


@pytest.mark.parametrize(("value", "seconds"), [(1, 1), ("60", 60), (2_592_000, 2_592_000)])
def test_the_maximum_age_is_in_seconds(value: object, seconds: int) -> None:
    assert parse_disposition(LEAST | {"max_age_seconds": value}).max_age == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", [0, -1, 2_592_001, "0", "-1", "1.5", 1.5, 60.0, True, "1h", "٦", 10**30, [], 1e300])
def test_a_maximum_age_of_another_kind_is_refused(value: object) -> None:
    message = fault_of("max_age_seconds", value)

    assert "it must be whole seconds, 1 to 2592000 (30 days)" in message
    assert len(message) < 200


def test_a_number_too_long_to_be_written_is_refused_like_any_other() -> None:
    assert fault_of("max_age_seconds", 10**5000).startswith("max_age_seconds is a number;")


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-24T12:30:00Z",
        "2026-11-24t12:30:00z",
        "2026-11-24 12:30:00Z",
        "2026-11-24T12:30:00.000000000Z",
        "2026-11-24T18:00:00+05:30",
        "2026-11-24T04:30:00-08:00",
    ],
)
def test_the_moment_of_choice_is_kept_in_utc(value: str) -> None:
    moment = parse_disposition(LEAST | {"occurred_at": value}).occurred_at

    assert moment == datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("2026-11-24T12:30:00", "has no offset from UTC"),
        ("2026-02-30T12:30:00Z", "is no real date"),
        ("2026-11-24T12:30:60Z", "is no real date"),
        ("2026-11-24T12:30:00+25:00", "is no real date"),
        ("2026-11-24T24:00:00Z", "is not an RFC 3339 time"),
        ("2026-11-24", "is not an RFC 3339 time"),
        ("2026-11-24T12:30Z", "is not an RFC 3339 time"),
        ("11/24/2026 12:30:00", "is not an RFC 3339 time"),
        ("1999-12-31T23:59:59Z", "years 2000 to 2100"),
        ("0001-01-01T00:00:00+23:59", "years 2000 to 2100"),
        ("9999-12-31T23:59:59-23:59", "years 2000 to 2100"),
        (1764000000, "must be text"),
    ],
)
def test_another_moment_of_choice_is_refused(value: object, reason: str) -> None:
    assert reason in fault_of("occurred_at", value)


def test_a_call_back_time_is_in_kolkata_unless_a_zone_is_given() -> None:
    wanted = parse_disposition(LEAST | {"callback_time": "2026-11-25T05:00:00Z"})

    assert wanted.callback_time == datetime(2026, 11, 25, 10, 30)  # noqa: DTZ001
    assert wanted.callback_time_zone == "Asia/Kolkata"


def test_a_zone_without_a_time_is_taken_as_cloudagent_takes_it() -> None:
    wanted = parse_disposition(LEAST | {"callback_time_zone": "Europe/Berlin"})

    assert (wanted.callback_time, wanted.callback_time_zone) == (None, "Europe/Berlin")


def test_a_call_back_time_that_its_zone_skips_is_refused_under_the_name_it_came_with() -> None:
    sent = LEAST | {"callBackTime": "2026-03-29 02:30:00", "callBackTimeZone": "Europe/Berlin"}

    assert "does not exist in Europe/Berlin" in faults_of(sent)["callBackTime"]


@pytest.mark.parametrize("name", ["callback_time", "callback_time_zone"])
def test_call_back_fields_must_be_text(name: str) -> None:
    assert "must be text" in fault_of(name, 1764000000)


# -- fields that are not


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("agentId", "agent_id"),
        ("agent", "agent_id"),
        ("UCID", "ucid"),
        ("comment", "comments"),
        ("call_back_time", "callback_time"),
        ("Disposition", "disposition"),
        ("CUSTOMER", "account"),
        ("max_age", "max_age_seconds"),
    ],
)
def test_an_unknown_field_is_refused_with_the_one_that_may_be_meant(name: str, meant: str) -> None:
    assert fault_of(name, "x") == f"{name} is not a field; did you mean {meant}?"


def test_an_unknown_field_like_no_other_is_refused_with_all_names() -> None:
    assert "the fields are account, ucid, did," in fault_of("phone_of_the_lead", "x")


@pytest.mark.parametrize("name", ["apiKey", "api_key", "APIKEY", "api-key"])
def test_an_api_key_is_refused_and_never_shown(name: str) -> None:
    message = fault_of(name, "KK-canary-secret")

    assert "it belongs to the account" in message
    assert "canary" not in message


def test_an_unknown_fields_value_is_never_shown() -> None:
    assert "canary" not in fault_of("password", "KK-canary-secret")


def test_thousands_of_unknown_fields_make_a_short_answer() -> None:
    faults = faults_of(LEAST | {f"f{number}\n{'x' * 500}": number for number in range(5000)})

    assert len(faults) == 11
    assert faults["body"] == "4990 more fields are not known"
    assert all(len(name) <= 50 and name.isprintable() for name in faults)


# -- duplicates


def test_the_same_request_has_the_same_fingerprint_however_it_is_written() -> None:
    written = {
        "customer": " acme",
        "agentID": "a17",
        "did": "918012345678",
        "ucid": "1234567890123456",
        "disposition": "Sale ",
        "comments": "wants the blue one\r\nand a call back",
        "action": "SET",
        "callBackTime": "2026-11-25T15:00:00+05:30",
        "callBackTimeZone": "Europe/Berlin",
        "pauseAfterDispose": "1",
        "pauseReason": "Lunch",
        "occurred_at": "2026-11-24T12:30:00.250Z",
        "max_age_seconds": "3600",
        "reference": "deal-7",
    }

    assert fingerprint(parse_disposition(written)) == fingerprint(parse_disposition(EVERYTHING))
    assert len(fingerprint(parse_disposition(EVERYTHING))) == 16


def test_the_default_zone_said_or_left_out_is_the_same_request() -> None:
    left_out = LEAST | {"callback_time": "2026-11-25 10:30:00"}

    said = left_out | {"callback_time_zone": "Asia/Kolkata"}
    assert fingerprint(parse_disposition(said)) == fingerprint(parse_disposition(left_out))


def test_a_fingerprint_does_not_change_between_releases() -> None:
    """It is stored: a change would make a repeat that crosses an upgrade look like another request."""
    assert fingerprint(parse_disposition(EVERYTHING)).hex() == "fa4a5653200b9515c15c96a08812f4f9"


@pytest.mark.parametrize("name", [field.name for field in fields(NewDisposition)])
def test_each_thing_asked_for_changes_the_fingerprint(name: str) -> None:
    other = {
        "callback_time": datetime(2026, 11, 25, 10, 31),  # noqa: DTZ001
        "pause_after_dispose": False,
        "occurred_at": datetime(2026, 11, 24, 12, 31, tzinfo=UTC),
        "max_age": timedelta(hours=2),
    }
    wanted = parse_disposition(EVERYTHING)

    assert fingerprint(replace(wanted, **{name: other.get(name, "another")})) != fingerprint(wanted)
    if name in {"comments", "callback_time", "pause_reason", "occurred_at", "max_age", "reference"}:
        assert fingerprint(replace(wanted, **{name: None})) != fingerprint(wanted)


def test_the_same_text_in_another_field_is_another_request() -> None:
    as_reason = parse_disposition(LEAST | {"pause_reason": "x"})
    as_reference = parse_disposition(LEAST | {"reference": "x"})

    assert fingerprint(as_reason) != fingerprint(as_reference)


# -- properties

NAMES = st.sampled_from([name for field in FIELDS for name in (field.name, field.alias) if name])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=30)
    | st.sampled_from(["true", "2026-11-25 10:30:00", "Europe/Berlin", "1234567890", "set", " ", "x" * 2001]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TEXTS = st.text(st.characters(codec=None), max_size=40)


@given(st.dictionaries(NAMES | TEXTS, JSON, max_size=12))
def test_any_object_is_taken_or_refused_with_messages_fit_to_be_shown(sent: dict[str, object]) -> None:
    try:
        parse_disposition(sent)
        faults = ()
    except InvalidInput as refused:
        faults = refused.faults

    for fault in faults:
        assert fault.field.isprintable()
        assert fault.message.isprintable()
        json.dumps([fault.field, fault.message], ensure_ascii=False).encode()


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["comments", "reference", "pause_reason"], TEXTS)))
def test_what_is_taken_has_no_control_characters_and_no_empty_text(sent: dict[str, object]) -> None:
    try:
        wanted = parse_disposition(LEAST | sent)
    except InvalidInput:
        return
    for text in (wanted.comments, wanted.reference, wanted.pause_reason):
        assert text is None or text.strip() == text != ""
        allowed = "\n\t" if text is wanted.comments else ""
        assert not any(unicodedata.category(c) in ("Cc", "Cs") and c not in allowed for c in text or "")


@given(st.permutations(list(EVERYTHING.items())), st.sets(st.sampled_from(sorted(EVERYTHING))))
def test_neither_order_nor_names_change_what_is_asked(items: list[tuple[str, object]], renamed: set[str]) -> None:
    aliases = {field.name: field.alias for field in FIELDS if field.alias}
    sent = {aliases.get(name, name) if name in renamed else name: value for name, value in items}

    assert parse_disposition(sent) == parse_disposition(EVERYTHING)
    assert fingerprint(parse_disposition(sent)) == fingerprint(parse_disposition(EVERYTHING))
