"""When a schedule comes, also on daylight-saving days, and what of it is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from app.domain.errors import InvalidInput
from app.domain.schedules import READY_MADE, Overlap, parse_schedule

NOW = datetime(2026, 11, 26, tzinfo=UTC)
REPLAY = {"filter": {"state": "failed", "from": "24h"}}
NIGHTLY: dict[str, Any] = {"name": "nightly", "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "replay": REPLAY}


def times(after: str, n: int = 3, **changes: Any) -> list[str]:
    plan = parse_schedule({**NIGHTLY, **changes}, NOW)
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    return [f"{time:%m-%dT%H:%M}" for time in islice(plan.recurrence(anchor).after(datetime.fromisoformat(after)), n)]


def faults(**changes: Any) -> list[str]:
    fields = {name: value for name, value in {**NIGHTLY, **changes}.items() if value is not ...}
    with pytest.raises(InvalidInput) as refused:
        parse_schedule(fields, NOW)
    assert all(fault.message.startswith(fault.field) for fault in refused.value.faults), refused.value.faults
    return [fault.field for fault in refused.value.faults]


def test_in_the_night_without_half_past_two_it_comes_at_three_and_only_once() -> None:
    assert times("2026-03-28T12:00:00Z") == ["03-29T01:00", "03-30T00:30", "03-31T00:30"]


def test_in_the_night_with_half_past_two_twice_it_comes_once() -> None:
    assert times("2026-10-24T12:00:00Z") == ["10-25T00:30", "10-26T01:30", "10-27T01:30"]


def test_what_comes_each_half_hour_comes_each_half_hour_that_night_too() -> None:
    assert times("2026-10-25T00:00:00Z", 4, cron="*/30 * * * *") == [
        *("10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"),
    ]


def test_a_zone_with_half_an_hour() -> None:
    assert times("2026-11-25T12:00:00Z", 1, time_zone="Asia/Kolkata") == ["11-25T21:00"]


def test_every_so_often_counts_from_when_it_was_made() -> None:
    every: dict[str, Any] = {"cron": None, "every": "6h"}
    assert times("2026-01-02T05:59:59Z", **every) == ["01-02T06:00", "01-02T12:00", "01-02T18:00"]
    assert times("2026-01-02T06:00:00Z", 1, **every) == ["01-02T12:00"]


def test_what_is_left_out_has_its_usual_value() -> None:
    plan = parse_schedule({"name": "n", "every": "1h", "replay": REPLAY}, NOW)
    assert (plan.time_zone, plan.overlap, plan.catch_up, plan.paused) == (
        "UTC",
        Overlap.SKIP,
        timedelta(hours=1),
        False,
    )


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"cron": "99 * * * *"}, ["cron"]),
        ({"cron": "nightly"}, ["cron"]),
        ({"cron": "0 0 2 * * *"}, ["cron"]),
        ({"cron": "0 0 31 2 *"}, ["cron"]),
        ({"cron": 5}, ["cron"]),
        ({"cron": ...}, ["cron"]),
        ({"every": "1h"}, ["every"]),
        ({"cron": ..., "every": "30s"}, ["every"]),
        ({"cron": ..., "every": "often"}, ["every"]),
        ({"cron": ..., "every": 3600}, ["every"]),
        ({"time_zone": "Asia/Culcutta"}, ["time_zone"]),
        ({"time_zone": 5, "overlap": "wait", "catch_up": "1s"}, ["time_zone", "overlap", "catch_up"]),
        ({"name": "a b"}, ["name"]),
        ({"name": "ready-made"}, ["name"]),
        ({"name": ..., "replay": ...}, ["name", "replay"]),
        ({"replay": {"filter": {}}}, ["replay.filter"]),
        (
            {"replay": {"filter": {"state": "?"}, "rate_per_second": 0}},
            ["replay.filter.state", "replay.rate_per_second"],
        ),
        ({"replay": {"filter": {"state": "queued"}, "action": "cancel"}}, ["replay.reason"]),
        ({"replay": "all"}, ["replay"]),
        ({"colour": "red", "paused": "yes"}, ["colour", "paused"]),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(changes: dict[str, Any], fields: list[str]) -> None:
    assert sorted(faults(**changes)) == sorted(fields)


def test_a_window_is_looked_at_as_it_stands_now() -> None:
    since = {"state": "failed", "from": "2026-11-20T00:00:00Z", "to": "1h"}
    assert parse_schedule({**NIGHTLY, "replay": {"filter": since}}, NOW).replay["filter"] == since
    over = {"state": "failed", "from": "24h", "to": "2026-11-20T00:00:00Z"}
    assert faults(replay={"filter": over}) == ["replay.filter.to"]  # and it never will be right again


def test_a_change_changes_what_it_names_and_a_new_time_takes_the_place_of_the_old() -> None:
    was = parse_schedule(NIGHTLY, NOW)
    paused = parse_schedule({"paused": True}, NOW, was)
    assert (paused.paused, paused.cron, paused.replay) == (True, was.cron, was.replay)
    every = parse_schedule({"every": "6h"}, NOW, was)
    assert (every.cron, every.every) == (None, timedelta(hours=6))


@pytest.mark.parametrize("ready", READY_MADE, ids=lambda ready: ready.name)
def test_what_is_ready_made_can_be_made(ready: Any) -> None:
    assert parse_schedule({**ready.fields, "name": ready.name}, NOW).replay["filter"]["state"] == "failed"
