"""`python -m app.sandbox`: the stand-in as a process."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import orjson
import pytest

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts the command; whatever still runs at the end of the test is killed."""
    started: list[Process] = []

    async def run(*options: str, stdin: bytes = b"") -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.sandbox", *options, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().strip()


async def dispose(url: str, ucid: str, key: str = "k") -> httpx.Response:
    asked = {
        "apiKey": key,
        "customer": "sandbox",
        "did": "9",
        "agentID": "a",
        "disposition": "Sale",
        "action": "set",
        "ucid": ucid,
    }
    async with httpx.AsyncClient(base_url=url, timeout=5) as client:
        return await client.get("/CAServices/Disposition/DispositionAPIV3.php", params=asked)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_listens_and_leaves_cleanly_with_a_hanging_client(
    start: Start, number: signal.Signals
) -> None:
    process = await start("--api-key-stdin", "--faults", "ok,hang", stdin=b"from-stdin\n")
    name, url = (await line(process)).split()
    assert name == "sandbox"
    assert (await dispose(url, "1", key="from-stdin")).json()["status"] == " Success"
    hanging = asyncio.create_task(dispose(url, "2"))
    async with httpx.AsyncClient(base_url=url) as client:
        while (await client.get("/_sandbox/health")).json()["in_flight"] == 0:
            pass
    process.send_signal(number)
    async with asyncio.timeout(10):
        assert await process.wait() == 0
    with pytest.raises(httpx.TransportError):
        await hanging
    assert process.stderr is not None
    assert await process.stderr.read() == b""


async def test_it_makes_a_key_when_none_is_given_and_shows_it(start: Start) -> None:
    process = await start()
    url = (await line(process)).split()[1]
    key = (await line(process)).rsplit(" ", 1)[1]
    assert (await dispose(url, "1", key)).json()["status"] == " Success"


async def test_resets_are_resets_on_its_event_loop_too(start: Start) -> None:
    process = await start("--api-key", "k", "--faults", "reset_after")
    url = (await line(process)).split()[1]
    with pytest.raises(httpx.ReadError):
        await dispose(url, "1")
    assert (await dispose(url, "1")).json()["status"] == " Success"


async def test_its_log_file_has_every_request_even_when_it_is_killed(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "seen.ndjson"
    log.write_text('{"number": 0}\n')
    process = await start("--api-key", "k", "--log", str(log), "--fsync", "--latency", "1ms-3ms")
    url = (await line(process)).split()[1]
    await asyncio.gather(*(dispose(url, str(ucid)) for ucid in range(20)))
    process.kill()
    await process.wait()
    records = [orjson.loads(text) for text in log.read_text().splitlines()]
    assert [record["number"] for record in records] == list(range(21))
    assert {record["ucid"] for record in records[1:]} == {str(ucid) for ucid in range(20)}
    assert '"k"' not in log.read_text()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--host", "0.0.0.0"], "loopback"),
        (["--faults", "fire"], "fire"),
        (["--latency", "soon"], "soon"),
        (["--api-key", "a", "--api-key-stdin"], "either"),
        (["--api-key-stdin"], "no key"),
    ],
)
async def test_a_wrong_option_is_told_and_exits_with_2(start: Start, options: list[str], problem: str) -> None:
    process = await start(*options)
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert problem in errors.decode()


async def test_a_port_that_is_taken_is_told_and_exits_with_1(start: Start) -> None:
    url = (await line(await start())).split()[1]
    second = await start("--port", url.rsplit(":", 1)[1])
    _, errors = await second.communicate()
    assert second.returncode == 1
    assert b"--port" in errors
