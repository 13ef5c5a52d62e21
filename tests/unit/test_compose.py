"""What is shipped for production: docker-compose.yml and Dockerfile, read closely, since no engine runs them here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli.main import run
from app.domain.durations import parse_duration
from app.settings import Settings

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text()

SECRETS = re.compile(r"PASSWORD|SECRET|TOKEN|API_?KEY")
INTERPOLATED = re.compile(r"\$\{[^}]*\}|(?<!\$)\$\w+")
DEMANDED = re.compile(r"\$\{\w+:\?[^}]+\}")


def one_shots() -> set[str]:
    """The services that others wait for the end of."""
    return {
        name
        for service in SERVICES.values()
        for name, after in service.get("depends_on", {}).items()
        if after["condition"] == "service_completed_successfully"
    }


def from_lines() -> Iterator[str]:
    """The base image of each stage of the Dockerfile."""
    for line in DOCKERFILE.splitlines():
        if line.startswith("FROM "):
            yield line.split()[1]


def test_there_is_everything_that_wrapup_needs() -> None:
    assert set(SERVICES) == {"postgres", "redis", "migrate", "api", "worker", "scheduler"}
    assert set(OURS) == {"migrate", "api", "worker", "scheduler"}


def test_every_service_has_a_health_check_or_runs_once() -> None:
    for name, service in SERVICES.items():
        once = name in one_shots() and service["restart"] == "no"
        assert once or service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        assert once or service["restart"] == "unless-stopped", name


def test_wrapup_starts_after_the_migration_and_does_not_wait_for_a_healthy_broker() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("api", "worker", "scheduler"):
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_started"},
        }


def test_every_image_is_pinned_to_a_version() -> None:
    for image in [*(service["image"] for service in SERVICES.values()), *from_lines()]:
        assert re.fullmatch(r"[a-z]+:\d+(\.\d+)*(-[a-z]+)?", image), image
    assert {service["image"] for service in OURS.values()} == {f"wrapup:{PROJECT['version']}"}
    assert SERVICES["postgres"]["image"] == "postgres:18"


def test_the_image_has_a_python_that_wrapup_runs_on() -> None:
    oldest = PROJECT["requires-python"].removeprefix(">=")
    for image in from_lines():
        version = image.removeprefix("python:").removesuffix("-slim")
        assert [int(part) for part in version.split(".")] >= [int(part) for part in oldest.split(".")]


def test_compose_refuses_to_start_without_the_secrets_and_gives_none_a_default() -> None:
    found = INTERPOLATED.findall(re.sub(r"(?m)^\s*#.*$", "", TEXT))
    assert found
    assert all(DEMANDED.fullmatch(one) for one in found), found
    assert {re.split(r"\W+", one)[1] for one in found} == {"POSTGRES_PASSWORD", "WRAPUP_SECRET_KEYS"}
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if SECRETS.search(variable):
                assert DEMANDED.fullmatch(value), f"{name}: {variable}"
            else:
                assert "@" not in value or ":" not in value.split("@")[0].split("//")[1], f"{name}: {variable}"


def test_every_variable_is_a_setting_of_wrapup() -> None:
    for service in OURS.values():
        names = {name.removeprefix("WRAPUP_").lower() for name in service["environment"] if name.startswith("WRAPUP_")}
        assert names <= set(Settings.model_fields)
        assert {"database_url", "broker_url", "secret_keys"} <= names


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one_of_wrapups_with_options_that_it_has(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # The options are read before the help is given, so one that does not exist is told.
    assert run([*OURS[name]["command"], "--no-such-option", "--help"]) == 2
    assert run([*OURS[name]["command"], "--help"]) == 0
    assert f"wrapup {name}" in capsys.readouterr().out


def test_only_the_api_is_published_and_only_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    command = SERVICES["api"]["command"]
    port = command[command.index("--port") + 1]
    assert published == {"api": [f"127.0.0.1:{port}:{port}"]}
    assert f"127.0.0.1:{port}/health/live" in SERVICES["api"]["healthcheck"]["test"][-1]


def test_the_servers_are_in_a_network_without_a_way_out() -> None:
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name in ("postgres", "redis"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_wrapup_runs_with_as_little_as_can_be() -> None:
    for name, service in OURS.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_no_process_with_a_watchdog_is_process_1_of_its_container() -> None:
    # The kernel does not deliver a signal with its default action to process 1.
    for name, service in OURS.items():
        assert service["init"] is True, name


def test_what_is_kept_lies_in_volumes() -> None:
    # From PostgreSQL 18 on, the image's data is in a folder of its version below this one.
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert SERVICES["redis"]["volumes"] == ["redis:/data"]
    assert set(COMPOSE["volumes"]) == {"postgres", "redis"}


def test_the_broker_keeps_what_it_has_and_evicts_nothing() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_a_stop_leaves_time_for_the_calls_under_way() -> None:
    settings = Settings()
    needed = settings.call_deadline_seconds + settings.lease_margin.total_seconds()
    for name in ("worker", "scheduler"):
        assert parse_duration(SERVICES[name]["stop_grace_period"]).total_seconds() > needed


def test_the_logs_of_every_service_are_bounded() -> None:
    for name, service in SERVICES.items():
        assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name


@pytest.mark.parametrize("name", ["worker", "scheduler"])
def test_a_database_that_does_not_answer_makes_no_delivering_process_unhealthy(name: str, tmp_path: Path) -> None:
    python, option, script, kind = SERVICES[name]["healthcheck"]["test"][1:]
    assert (python, option, kind) == ("python", "-c", name)
    nowhere = os.environ | {"WRAPUP_DATABASE_URL": f"postgresql://wrapup@/wrapup?host={tmp_path}"}
    asked = subprocess.run([sys.executable, option, script, kind], env=nowhere, check=False, timeout=30)
    assert asked.returncode == 0


def test_the_image_holds_what_is_locked_and_nothing_is_compiled_for_it() -> None:
    installs = re.findall(r"pip --python \S+ install ((?:.|\\\n)*?)(?:\n(?!    )|$)", DOCKERFILE)
    locked, ours = installs
    assert {"--require-hashes", "--only-binary", "requirements/runtime.txt"} <= set(locked.split())
    assert {"--no-deps", "--no-build-isolation", "."} <= set(ours.split())
    assert not re.search(r"apt-get|gcc|build-essential|https?://", DOCKERFILE)


def test_the_image_runs_wrapup_and_not_as_root() -> None:
    last_stage = DOCKERFILE.rpartition("FROM ")[2]
    (user,) = re.findall(r"(?m)^USER (\d+):\1$", last_stage)
    assert int(user) > 0
    assert 'ENTRYPOINT ["wrapup"]' in last_stage


def test_what_the_image_copies_is_there_and_passes_dockerignore_and_no_secret_does() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"  # all that is not named stays out
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        source.rstrip("/")
        for line in re.findall(r"(?m)^COPY (?!--from)(.*)$", DOCKERFILE)
        for source in line.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(packages["packages"]) <= copied
    assert not any(fnmatch(secret, pattern) for secret in (".env", ".wrapup", ".git") for pattern in let_in)
