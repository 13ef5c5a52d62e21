"""The grammar of filters: what is taken, what is refused, and that nothing is passed over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.domain.filters import CAUSES, FIELDS, Filter, parse_filter, to_json
from app.domain.lifecycle import State

NOW = datetime(2026, 11, 25, 10, 30, tzinfo=UTC)
ID = "01937c1e-7a80-7c3e-9f2b-6d1c5a4e8b90"


def parse(fields: dict[str, object]) -> Filter:
    return parse_filter(fields, NOW)


def faults(fields: dict[str, object], **more: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        parse_filter(fields, NOW, **more)
    return {fault.field: fault.message for fault in refused.value.faults}


def test_a_value_or_several_and_each_only_once() -> None:
    assert parse({"state": "failed"}) == parse({"state": ["failed", "failed"]}) == Filter(states=(State.FAILED,))
    assert parse({"cause": ["no_reply", "expired"]}).causes == ("no_reply", "expired")
    assert parse({"id": ID}).ids == (UUID(ID),)
    assert parse({"from": ["24h"]}) == parse({"from": "24h"})


def test_relative_times_become_moments_and_both_signs_mean_ago() -> None:
    assert parse({"from": "24h"}).since == parse({"from": "-24h"}).since == NOW - timedelta(hours=24)
    assert parse({"from": "1.5h", "to": "30m"}).until == NOW - timedelta(minutes=30)
    assert parse({"from": "2026-11-25T10:30:00+05:30"}).since == datetime(2026, 11, 25, 5, 0, tzinfo=UTC)


def test_what_has_no_condition_is_empty_whoever_asks() -> None:
    assert parse({}).is_empty
    assert parse_filter({}, NOW, only_accounts=frozenset({"acme"})).is_empty
    for name in (one.name for one in FIELDS):
        value = {"id": ID, "failure": ID, "state": "failed", "cause": "expired", "from": "1h", "to": "1h"}.get(
            name, "x"
        )
        assert not parse({name: value}).is_empty, name


@pytest.mark.parametrize("value", ["", None, [], [""], [None]], ids=str)
@pytest.mark.parametrize("name", [one.name for one in FIELDS])
def test_a_condition_without_a_value_is_refused_since_it_would_take_everything(name: str, value: object) -> None:
    assert list(faults({name: value})) == [name]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "lost"}, "'lost'; there are: queued, sending"),
        ({"state": "Failed"}, "did you mean failed?"),
        ({"cause": "no_repyl"}, "'no_repyl'; did you mean no_reply?"),
        ({"cause": "saved"}, "there are: "),
        ({"cause": ["no_reply", 5]}, "is 5"),
        ({"id": "x"}, "'x'; it must be the id of a disposition"),
        ({"id": 5}, "is 5"),
        ({"id": {}}, "is an object"),
        ({"ucid": 1234567890123456}, "put it in quotes"),
        ({"agent_id": "x" * 201}, "has 201 characters"),
        ({"reference": "a\0b"}, "control character"),
        ({"account": True}, "must be text, not true"),
        ({"from": "yesterday"}, "or how long ago, such as 24h"),
        ({"from": "24"}, "or how long ago"),
        ({"from": "24w"}, "is not a duration"),
        ({"from": "99999d"}, "too long"),
        ({"from": 24}, "not a number"),
        ({"from": ["1h", "2h"]}, "has 2 values; at most 1 is taken"),
        ({"to": "2026-11-25T10:30:00"}, "no offset"),
        ({"did": ["1"] * 1001}, "has 1001 values; at most 1000 are taken"),
        ({"agent": "x7"}, "did you mean agent_id?"),
        ({"colour": "red"}, "is not a condition of a filter; there are: id, state"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_with_the_field(fields: dict[str, object], words: str) -> None:
    ((field, message),) = faults(fields).items()
    assert field in fields
    assert message.startswith(field)
    assert words in message


def test_every_fault_is_named_at_once_and_under_the_name_that_its_place_has() -> None:
    wrong: dict[str, object] = {"state": "lost", "cause": "x", "from": "?", "colour": "red", "agent_id": "a17"}
    assert list(faults(wrong)) == ["state", "cause", "from", "colour"]
    assert next(iter(faults(wrong, named=lambda name: f"filter.{name}"))) == "filter.state"


@pytest.mark.parametrize(
    ("since", "until"),
    [("1h", "2h"), ("1h", "1h"), ("2026-11-02T00:00:00Z", "2026-11-01T00:00:00Z")],
)
def test_a_window_upside_down_is_refused(since: str, until: str) -> None:
    assert "is not after from" in faults({"from": since, "to": until})["to"]


def some(name: str) -> st.SearchStrategy[object]:
    """Values of a condition that are taken."""
    words = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["Cc"]), min_size=1)
    values: dict[str, st.SearchStrategy[Any]] = {
        "id": st.uuids().map(str),
        "failure": st.uuids().map(str),
        "state": st.sampled_from(State).map(str),
        "cause": st.sampled_from(CAUSES),
        "from": st.sampled_from(["24h", "90m", "2026-11-24T10:00:00.123456Z"]),
        "to": st.sampled_from(["1h", "5s", "2026-11-25T15:00:00+05:30"]),
    }
    single = next(one.single for one in FIELDS if one.name == name)
    value = values.get(name, words.filter(lambda text: len(text) <= 200))
    return value if single else st.lists(value, min_size=1, max_size=3)


@given(st.fixed_dictionaries({}, optional={one.name: some(one.name) for one in FIELDS}))
def test_as_json_and_back_it_is_the_same_filter_at_any_time(fields: dict[str, object]) -> None:
    once = parse(fields)
    assert parse_filter(to_json(once), NOW + timedelta(days=300)) == once  # type: ignore[arg-type]
