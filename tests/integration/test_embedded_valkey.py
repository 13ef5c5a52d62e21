"""The Valkey of ``wrapup up`` and of the tests."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kombu.connection import Connection
from redis import Redis

from app.embedded.throwaway import throwaway_servers
from app.embedded.valkey import EmbeddedValkey


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path so short that sockets have room in it, which tmp_path has not."""
    with tempfile.TemporaryDirectory(prefix="wrapup-test-") as name:
        yield Path(name)


@pytest.fixture
def run(folder: Path) -> Iterator[Callable[..., EmbeddedValkey]]:
    """Starts a server on the test's folder, or on another; whatever runs is stopped in the end."""
    running: list[EmbeddedValkey] = []

    def start(data_dir: Path = folder, *, durable: bool = True) -> EmbeddedValkey:
        valkey = EmbeddedValkey(data_dir, durable=durable)
        running.append(valkey)
        valkey.start()
        return valkey

    yield start
    for valkey in running:
        valkey.stop()


def client(valkey: EmbeddedValkey) -> Redis:
    return Redis.from_url(valkey.url.replace("redis+socket", "unix").replace("virtual_host", "db"))


def test_it_answers_and_never_evicts_a_message(run: Callable[..., EmbeddedValkey]) -> None:
    with client(run()) as redis:
        assert redis.ping()
        assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert redis.config_get("port") == {"port": "0"}


def test_celerys_transport_takes_its_url(run: Callable[..., EmbeddedValkey]) -> None:
    with Connection(run().url) as connection, connection.SimpleQueue("here") as queue:
        queue.put("a wake-up")
        assert queue.get(timeout=2).payload == "a wake-up"


def test_messages_survive_a_stop_and_a_start(run: Callable[..., EmbeddedValkey]) -> None:
    valkey = run()
    with client(valkey) as redis:
        redis.rpush("queue", "message")
    valkey.stop()
    with client(run()) as redis:
        assert redis.lrange("queue", 0, -1) == [b"message"]


def test_it_starts_again_after_kill_9(run: Callable[..., EmbeddedValkey]) -> None:
    with client(run()) as redis:
        os.kill(int(redis.info("server")["process_id"]), signal.SIGKILL)
    with client(run()) as redis:
        assert redis.ping()


def test_a_data_dir_with_spaces_or_a_long_path_serves_as_well(folder: Path, run: Callable[..., EmbeddedValkey]) -> None:
    for name in ("a path, with spaces & signs?", "long" * 40):
        valkey = run(folder / name)
        with client(valkey) as redis:
            assert redis.config_get("dir") == {"dir": str(folder / name / "valkey")}
            socket = Path(str(redis.config_get("unixsocket")["unixsocket"]))
        valkey.stop()
        socket.parent.rmdir()  # it is not in the data dir


def test_the_throwaway_servers_leave_nothing() -> None:
    with throwaway_servers() as servers:
        with Connection(servers.broker_url) as connection:
            connection.ensure_connection(max_retries=1)
        folder = Path(servers.broker_url.removeprefix("redis+socket://").split("?")[0]).parents[1]
        assert folder.is_dir()
    assert not folder.exists()
