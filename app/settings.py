"""The settings: every ``WRAPUP_`` variable, read here and nowhere else. No secret has a default."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.domain.durations import parse_duration
from app.domain.errors import ConfigurationError
from app.domain.lane import LanePolicy
from app.domain.retry import RetryPolicy

Network = IPv4Network | IPv6Network


def _parse_durations(text: object) -> list[timedelta]:
    parts = text.split(",") if isinstance(text, str) else text
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError("give at least one duration, comma-separated: 5s,15s,1m")
    return [_positive(parse_duration(part)) for part in parts]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone: write it like Asia/Kolkata or Europe/Berlin") from None
    return name


def _parse_networks(text: object) -> list[Network]:
    parts = text.split(",") if isinstance(text, str) else text
    if not isinstance(parts, list | tuple):
        parts = [text]
    return [ip_network(str(part).strip()) for part in parts if str(part).strip()]


def _enough_to_run(duration: timedelta) -> timedelta:
    if duration < timedelta(milliseconds=100):
        raise ValueError("must be 100ms or more: no process is sure to run more often than that")
    return duration


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_positive)]
Leeway = Annotated[Duration, AfterValidator(_enough_to_run)]
TimeZone = Annotated[str, AfterValidator(_zone)]
Networks = Annotated[list[Network], NoDecode, BeforeValidator(_parse_networks)]
Durations = Annotated[list[timedelta], NoDecode, BeforeValidator(_parse_durations)]


class Settings(BaseSettings):
    """What can be set from outside. The names of the contract, in lower case."""

    model_config = SettingsConfigDict(env_prefix="WRAPUP_", extra="ignore", frozen=True)

    # Where things are. Without a URL, `wrapup up` starts its own server below the data dir.
    database_url: SecretStr | None = None
    broker_url: SecretStr | None = None
    data_dir: Path = Path(".wrapup")
    secret_keys: SecretStr | None = None
    postgres_bin_dir: Path | None = None
    valkey_binary: Path | None = None

    # Calling CloudAgent.
    call_deadline_seconds: float = Field(default=10, ge=0.1, le=120)
    calls_in_flight: int = Field(default=200, ge=1, le=5000)
    allow_private_addresses: bool = False
    allow_loopback_addresses: bool = True
    watchdog: Leeway = timedelta(seconds=5)
    lease_margin: Leeway = timedelta(seconds=5)

    # Trying again.
    retry_delays: Durations = _parse_durations("5s,15s,1m,5m,15m,1h,2h,4h,8h")
    max_attempts: int = Field(default=20, ge=1, le=1000)
    max_age: Duration = timedelta(hours=72)
    breaker_pauses: Durations = _parse_durations("1s,2s,5s,10s,30s")
    pause_after_dispose_limit: Duration = timedelta(minutes=5)

    # Taking in.
    duplicate_window: Duration = timedelta(minutes=10)
    max_body_bytes: int = Field(default=65536, ge=1024)
    max_batch_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    body_timeout: Duration = timedelta(seconds=10)
    intake_queue: int = Field(default=10_000, ge=1)
    client_rate: int = Field(default=10_000, ge=0)  # requests a second, of one client to one process; 0: no limit

    # The pages.
    session_lifetime: Duration = timedelta(hours=12)
    time_zone: TimeZone = "Asia/Kolkata"
    sign_in_header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]+$")
    trusted_proxies: Networks = []

    # Keeping.
    retention: Duration = timedelta(days=400)

    # Saying.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    @model_validator(mode="after")
    def _header_needs_a_proxy(self) -> Settings:
        if self.sign_in_header and not self.trusted_proxies:
            raise ValueError("SIGN_IN_HEADER is set, and TRUSTED_PROXIES is not: anybody could send that header")
        return self

    @property
    def lease(self) -> timedelta:
        """How long a claimed call belongs to its worker: deadline + watchdog + margin, so that a worker that is
        still able to send never holds an expired lease (see ``workers/watchdog.py``)."""
        return timedelta(seconds=self.call_deadline_seconds) + self.watchdog + self.lease_margin

    @property
    def start_within(self) -> float:
        """Seconds from the claim within which a call has to start. That is what the margin is for."""
        return self.lease_margin.total_seconds()

    @property
    def longest_call(self) -> float:
        """Seconds within which a call that is under way has ended and is recorded, if the database takes it."""
        return self.call_deadline_seconds + self.lease_margin.total_seconds()

    @property
    def retry_policy(self) -> RetryPolicy:
        """The schedule of repeats."""
        return RetryPolicy(delays=tuple(self.retry_delays), max_attempts=self.max_attempts)

    @property
    def lane_policy(self) -> LanePolicy:
        """When an account's lane comes into doubt, and how long it waits for its probes."""
        return LanePolicy(pauses=tuple(self.breaker_pauses))

    def require_database_url(self) -> str:
        """The database's URL; raises ``ConfigurationError`` if there is none."""
        return _required(self.database_url, "DATABASE_URL")

    def require_broker_url(self) -> str:
        """The broker's URL; raises ``ConfigurationError`` if there is none."""
        return _required(self.broker_url, "BROKER_URL")

    def require_secret_keys(self) -> list[str]:
        """The Fernet keys, the encrypting one first; raises ``ConfigurationError`` if there is none."""
        keys = _required(self.secret_keys, "SECRET_KEYS").split(",")
        return [key.strip() for key in keys if key.strip()]


def _required(value: SecretStr | None, name: str) -> str:
    if value is None or not value.get_secret_value().strip():
        raise ConfigurationError(
            f"WRAPUP_{name} is not set. Set it, or run the command beside `wrapup up` with the same --data-dir."
        )
    return value.get_secret_value().strip()


def _variable(place: tuple[int | str, ...]) -> str:
    return f"WRAPUP_{str(place[0]).upper()}" if place else "the WRAPUP_ variables"


def load_settings(**overrides: object) -> Settings:
    """The settings from the environment; raises ``ConfigurationError`` that names every wrong variable at once."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # names are checked by pydantic
    except ValidationError as error:
        # Before what a rule of our own says pydantic puts two words.
        said = ((fault["loc"], fault["msg"].removeprefix("Value error, ")) for fault in error.errors())
        raise ConfigurationError("; ".join(f"{_variable(where)}: {what}" for where, what in said)) from None
