"""The PostgreSQL of ``wrapup up`` and of the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from app.domain.errors import ConfigurationError
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.processes import ProcessFailed

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="shows what happens to root")

NOBODY = 65534


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A cluster that was made and stopped, to be copied: making one takes the longest."""
    with tempfile.TemporaryDirectory(prefix="wrapup-test-") as name:
        postgres = EmbeddedPostgres(Path(name), durable=False)
        postgres.start()
        postgres.stop()
        yield Path(name) / "postgres"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path so short that sockets have room in it, which tmp_path has not."""
    with tempfile.TemporaryDirectory(prefix="wrapup-test-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def data_dir(folder: Path, cluster: Path) -> Path:
    """A data dir with a cluster that is stopped."""
    shutil.copytree(cluster, folder / "data/postgres")
    return folder / "data"


@pytest.fixture
def run(data_dir: Path) -> Iterator[Callable[..., EmbeddedPostgres]]:
    """Starts a server on the data dir, or on another; whatever runs is stopped in the end."""
    running: list[EmbeddedPostgres] = []

    def start(folder: Path = data_dir, *, durable: bool = False) -> EmbeddedPostgres:
        postgres = EmbeddedPostgres(folder, durable=durable)
        running.append(postgres)
        postgres.start()
        return postgres

    yield start
    for postgres in running:
        postgres.stop()


def value(postgres: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(postgres.url) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


def pid_of(data_dir: Path) -> int:
    return int((data_dir / "postgres/postmaster.pid").read_text().split()[0])


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.005)


def test_it_has_the_database_wrapup_with_utf_8_and_listens_on_no_network(
    run: Callable[..., EmbeddedPostgres],
) -> None:
    postgres = run()
    assert value(postgres, "SELECT current_database()") == "wrapup"
    assert value(postgres, "SHOW server_encoding") == "UTF8"
    assert value(postgres, "SHOW listen_addresses") == ""
    assert value(postgres, "SELECT uuid_extract_version(uuidv7())") == 7


def test_for_the_service_it_is_durable_and_for_tests_it_is_quick(
    run: Callable[..., EmbeddedPostgres],
) -> None:
    postgres = run(durable=True)
    durable = [value(postgres, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")]
    postgres.stop()
    postgres = run(durable=False)
    quick = [value(postgres, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")]
    assert (durable, quick) == (["on"] * 3, ["off"] * 3)


def test_only_its_owner_can_enter_the_folder_of_its_socket(run: Callable[..., EmbeddedPostgres]) -> None:
    folder = Path(str(value(run(), "SHOW unix_socket_directories")))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_data_dir_whose_path_is_too_long_for_a_socket_or_holds_spaces_serves_as_well(
    folder: Path, cluster: Path, run: Callable[..., EmbeddedPostgres]
) -> None:
    for name in ("a path, with spaces & signs?", "long" * 40):
        shutil.copytree(cluster, folder / name / "postgres")
        postgres = run(folder / name)
        assert value(postgres, "SHOW data_directory") == str(folder / name / "postgres")
        sockets = Path(str(value(postgres, "SHOW unix_socket_directories")))
        postgres.stop()
        sockets.rmdir()  # it is not in the data dir


def test_the_users_postgresql_variables_do_not_reach_it(
    run: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    monkeypatch.setenv("PGDATABASE", "another")
    monkeypatch.setenv("PGDATA", "/nowhere")
    assert value(run(), "SELECT current_database()") == "wrapup"


def test_rows_survive_kill_9_of_the_server_and_an_immediate_restart(
    data_dir: Path, run: Callable[..., EmbeddedPostgres]
) -> None:
    postgres = run(durable=True)
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    os.kill(pid_of(data_dir), signal.SIGKILL)
    assert value(run(durable=True), "SELECT number FROM kept") == 7


def test_a_lock_file_that_names_a_process_of_somebody_else_does_not_stop_the_start(
    data_dir: Path, run: Callable[..., EmbeddedPostgres]
) -> None:
    run()
    lock = data_dir / "postgres/postmaster.pid"
    left_over = lock.read_text().split("\n", 1)[1]
    os.kill(pid_of(data_dir), signal.SIGKILL)
    # The parent of this test lives on, and PostgreSQL passes over its own parents only.
    lock.write_text(f"{os.getppid()}\n{left_over}")
    assert value(run(), "SELECT 1") == 1


def test_a_second_server_on_the_same_data_dir_is_refused_and_names_the_first(
    data_dir: Path, run: Callable[..., EmbeddedPostgres]
) -> None:
    postgres = run()
    with pytest.raises(ConfigurationError, match=rf"still runs on .*kill -INT {pid_of(data_dir)}\)"):
        run()
    assert value(postgres, "SELECT 1") == 1


def test_a_cluster_that_was_killed_while_it_was_made_is_made_anew(
    folder: Path, run: Callable[..., EmbeddedPostgres]
) -> None:
    program = "import sys, pathlib; from app.embedded.postgres import EmbeddedPostgres as Server; "
    program += "Server(pathlib.Path(sys.argv[1]), durable=False).prepare()"
    maker = subprocess.Popen([sys.executable, "-c", program, folder], start_new_session=True)
    until(lambda: list(folder.glob("postgres.unfinished-*/PG_VERSION")))
    maker.kill()
    maker.wait()
    assert not (folder / "postgres").exists()

    assert value(run(folder), "SELECT 1") == 1
    assert not list(folder.glob("postgres.unfinished-*"))


def test_a_start_that_fails_tells_what_the_server_said(data_dir: Path, run: Callable[..., EmbeddedPostgres]) -> None:
    (data_dir / "postgres/PG_VERSION").write_text("12\n")
    with pytest.raises(ProcessFailed, match="initialized by PostgreSQL version 12"):
        run()


@needs_root
def test_a_data_dir_of_another_user_is_refused_with_both_users_named(data_dir: Path) -> None:
    os.chown(data_dir / "postgres", 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to user 12345, and this is user 0"):
        EmbeddedPostgres(data_dir)


@needs_root
def test_a_folder_on_the_way_that_is_closed_without_roots_powers_is_named(folder: Path) -> None:
    closed = folder / "home of a user"
    closed.mkdir(mode=0o700)
    os.chown(closed, 12345, 12345)
    with pytest.raises(ConfigurationError, match=f"{closed} is closed to it"):
        EmbeddedPostgres(closed / "data")


@pytest.fixture
def refused_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that forbids them."""
    refusal = tmp_path / "bin/unshare"
    refusal.parent.mkdir()
    refusal.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    refusal.chmod(0o755)
    monkeypatch.setenv("PATH", f"{refusal.parent}:{os.environ['PATH']}")


@needs_root
@pytest.mark.usefixtures("refused_namespaces")
def test_where_namespaces_are_refused_it_runs_as_nobody(folder: Path, run: Callable[..., EmbeddedPostgres]) -> None:
    folder.chmod(0o711)
    data_dir = folder / "nobodys"
    postgres = run(data_dir)
    assert value(postgres, "SELECT 1") == 1
    assert Path(f"/proc/{pid_of(data_dir)}").stat().st_uid == NOBODY
    # The data dir may be passed through; what is in it stays closed.
    assert data_dir.stat().st_mode & 0o777 == 0o711
    assert {(data_dir / name).stat().st_mode & 0o077 for name in ("postgres", "postgres.socket")} == {0}
    os.kill(pid_of(data_dir), signal.SIGKILL)
    assert value(run(data_dir), "SELECT 1") == 1


@needs_root
@pytest.mark.usefixtures("refused_namespaces")
def test_what_was_made_in_a_namespace_is_not_taken_over_silently_where_they_are_refused(
    data_dir: Path,
) -> None:
    with pytest.raises(ConfigurationError, match="chown -R 65534"):
        EmbeddedPostgres(data_dir)
