"""Settings: durations as the contract writes them, and every wrong variable named at once."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.durations import parse_duration
from app.domain.errors import ConfigurationError
from app.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _no_variables_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"WRAPUP_{name.upper()}", raising=False)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("10s", 10),
        ("5m", 300),
        ("72h", 259_200),
        ("400d", 34_560_000),
        ("1.5s", 1.5),
        (" 10s ", 10),
    ],
)
def test_durations_are_read_as_the_contract_writes_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "10 s", "s", "-5s", "5S", "5s5m", "1w", "1,5s", "ten", None, 10, "٣s"])
def test_what_is_no_duration_is_refused_with_what_is_taken(text: object) -> None:
    with pytest.raises(ValueError, match="write it like 250ms, 10s, 5m, 72h or 400d"):
        parse_duration(text)


@given(st.text(max_size=20) | st.integers().map(lambda n: f"{n}d"))
def test_no_text_breaks_the_reading_of_durations(text: str) -> None:
    with suppress(ValueError):
        assert parse_duration(text) >= timedelta(0)


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = Settings()
    assert settings.call_deadline_seconds == 10
    assert settings.max_attempts == 20
    assert settings.max_age == timedelta(hours=72)
    assert settings.pause_after_dispose_limit == timedelta(minutes=5)
    assert settings.duplicate_window == timedelta(minutes=10)
    assert (settings.max_body_bytes, settings.max_batch_bytes) == (65_536, 4 * 1024 * 1024)
    assert settings.retention == timedelta(days=400)
    assert (settings.database_url, settings.broker_url, settings.secret_keys) == (None, None, None)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRAPUP_RETRY_DELAYS", "10ms, 2s,1h")
    monkeypatch.setenv("WRAPUP_MAX_ATTEMPTS", "3")
    monkeypatch.setenv("WRAPUP_MAX_AGE", "90m")
    settings = load_settings()
    assert settings.retry_policy.delays == (timedelta(milliseconds=10), timedelta(seconds=2), timedelta(hours=1))
    assert settings.retry_policy.max_attempts == 3
    assert settings.max_age == timedelta(minutes=90)


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RETRY_DELAYS": "5s,soon",
        "MAX_ATTEMPTS": "0",
        "MAX_AGE": "0s",
        "RETENTION": "99999999999d",
        "CALL_DEADLINE_SECONDS": "ten",
        "LOG_LEVEL": "loud",
    }.items():
        monkeypatch.setenv(f"WRAPUP_{name}", value)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    message = str(refused.value)
    assert "\n" not in message
    for name in ("RETRY_DELAYS", "MAX_ATTEMPTS", "MAX_AGE", "RETENTION", "CALL_DEADLINE_SECONDS", "LOG_LEVEL"):
        assert f"WRAPUP_{name}: " in message
    assert ": 'soon' is not a duration" in message


@pytest.mark.parametrize("value", ["", ",", "5s,,15s", "0s", "5s,0ms"])
def test_a_schedule_has_a_pause_between_any_two_attempts(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WRAPUP_RETRY_DELAYS", value)
    with pytest.raises(ConfigurationError, match="WRAPUP_RETRY_DELAYS"):
        load_settings()


def test_a_duration_is_no_longer_than_the_tables_can_hold() -> None:
    assert parse_duration("10000d") == timedelta(days=10_000)
    with pytest.raises(ValueError, match="at most 10000d"):
        parse_duration("10001d")


@pytest.mark.parametrize("deadline", ["0", "-1", "nan", "inf", "121"])
def test_a_deadline_is_a_real_one(monkeypatch: pytest.MonkeyPatch, deadline: str) -> None:
    monkeypatch.setenv("WRAPUP_CALL_DEADLINE_SECONDS", deadline)
    with pytest.raises(ConfigurationError, match="WRAPUP_CALL_DEADLINE_SECONDS"):
        load_settings()


def test_a_lease_outlives_the_deadline_the_watchdog_and_a_margin() -> None:
    settings = Settings(call_deadline_seconds=3, watchdog="4s", lease_margin="5s")
    assert settings.lease == timedelta(seconds=12)


def test_a_lease_outlives_a_call_that_starts_as_late_as_it_may_whatever_the_watchdog_is() -> None:
    settings = Settings(call_deadline_seconds=1, watchdog="2s", lease_margin="500ms")
    assert settings.lease.total_seconds() == settings.start_within + 1 + 2


@pytest.mark.parametrize("value", ["", "  "])
def test_a_missing_url_says_what_to_do(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WRAPUP_DATABASE_URL", value)
    settings = load_settings()
    with pytest.raises(ConfigurationError, match=r"WRAPUP_DATABASE_URL is not set.*--data-dir"):
        settings.require_database_url()
    with pytest.raises(ConfigurationError, match="WRAPUP_BROKER_URL"):
        settings.require_broker_url()
    with pytest.raises(ConfigurationError, match="WRAPUP_SECRET_KEYS"):
        settings.require_secret_keys()


def test_secrets_are_split_and_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRAPUP_SECRET_KEYS", "first, second,")
    monkeypatch.setenv("WRAPUP_DATABASE_URL", "postgresql://u:hunter2@host/db")
    settings = load_settings()
    assert settings.require_secret_keys() == ["first", "second"]
    assert "hunter2" not in repr(settings)
    assert "first" not in repr(settings)


def test_times_in_which_nothing_can_be_done_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WATCHDOG", "1ms"), ("LEASE_MARGIN", "99ms"), ("CALL_DEADLINE_SECONDS", "1e-300")):
        monkeypatch.setenv(f"WRAPUP_{name}", value)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    for name in ("WATCHDOG", "LEASE_MARGIN", "CALL_DEADLINE_SECONDS"):
        assert f"WRAPUP_{name}" in str(refused.value)
