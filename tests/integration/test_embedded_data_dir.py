"""The folder of ``wrapup up``: held by one, with private files that are whole or not there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from app.domain.errors import ConfigurationError
from app.embedded.addresses import Address, free_address, usable_address
from app.embedded.data_dir import hold, secret_key
from app.embedded.servers import Servers

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="shows what happens to root")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_folder_that_is_held_is_refused_to_others_with_the_process_that_holds_it(tmp_path: Path) -> None:
    with hold(tmp_path / "data"):
        assert mode(tmp_path / "data") == 0o700
        with pytest.raises(ConfigurationError, match=rf"already running on .*\(process {os.getpid()}\)"):
            hold(tmp_path / "data").__enter__()
    with hold(tmp_path / "data"):
        pass


def test_the_lock_of_a_process_that_was_killed_is_gone_with_it(tmp_path: Path) -> None:
    program = "import os, pathlib, sys; from app.embedded.data_dir import hold\n"
    program += "with hold(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert killed.returncode == -9
    assert (tmp_path / "lock").exists()
    with hold(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="Not a directory"):
        hold(tmp_path / "file/data").__enter__()


@needs_root
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to user 12345"):
        hold(tmp_path).__enter__()


def test_the_secret_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    key = secret_key(tmp_path)
    assert Fernet(key)
    assert secret_key(tmp_path) == key
    assert mode(tmp_path / "secret.key") == 0o600


def test_a_lost_secret_key_is_not_replaced_while_a_database_needs_it(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with pytest.raises(ConfigurationError, match="WRAPUP_SECRET_KEYS"):
        secret_key(tmp_path)


def test_what_runs_is_written_privately_and_read_back_until_it_is_forgotten(tmp_path: Path) -> None:
    assert Servers.read(tmp_path) is None
    servers = Servers("postgresql://", "redis://", "http://127.0.0.1:8080", pids={"api": 7})
    servers.write(tmp_path)
    assert mode(tmp_path / "servers.json") == 0o600
    assert Servers.read(tmp_path) == servers
    Servers.forget(tmp_path)
    assert Servers.read(tmp_path) is None


def test_an_address_that_is_taken_is_an_error_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port} .*in use.*--port"):
            usable_address("127.0.0.1", port)
        assert free_address("127.0.0.1", port).port != port
    assert free_address("127.0.0.1", port) == Address("127.0.0.1", port)


def test_a_url_is_one_that_a_client_can_use() -> None:
    assert Address("127.0.0.1", 80).url == "http://127.0.0.1:80"
    assert Address("0.0.0.0", 80).url == "http://127.0.0.1:80"
    assert Address("::", 80).url == "http://[::1]:80"
