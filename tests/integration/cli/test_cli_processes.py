"""``wrapup api``, ``worker`` and ``scheduler``, and ``doctor``, which looks whether they are there."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from contextlib import suppress

from cryptography.fernet import Fernet

CANARY = "KKcanary-in-a-query"


async def _event(process, event):
    """Reads the log of a process until it tells of that event."""
    async with asyncio.timeout(30):
        while line := await process.stderr.readline():
            if line.startswith(b"{") and (told := json.loads(line))["event"].startswith(event):
                return told
    raise AssertionError(f"it ended without telling of {event!r}")


async def _api(wrapup):
    api = await wrapup.start("api", "--port", "0", WRAPUP_LOG_LEVEL="debug")
    return api, (await _event(api, "api listens"))["port"]


async def _answer(port, *parts):
    """What is answered to a request that is sent in parts, until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    async with asyncio.timeout(30):
        with suppress(ConnectionError):  # it has heard enough
            for part in parts:
                writer.write(part)
                await writer.drain()
            answer = await reader.read()
    writer.close()
    return answer


async def test_the_api_answers_until_it_is_told_to_stop_and_logs_no_query(wrapup):
    api, port = await _api(wrapup)
    head = f"GET /health/live?apiKey={CANARY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await _answer(port, head.encode())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"server:" not in answer.lower()
    api.send_signal(signal.SIGTERM)
    out, err = await api.communicate()
    assert api.returncode == 0
    assert CANARY.encode() not in out + err


async def test_a_head_without_end_is_cut_off(wrapup):
    _, port = await _api(wrapup)
    many = [b"GET / HTTP/1.1\r\nHost: x\r\n", *[b"X-A: " + b"a" * 10_000 + b"\r\n"] * 500]
    long = [b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", *[b"a" * 10_000] * 500]
    for parts in (many, long):
        answer = await _answer(port, *parts)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    large = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: " + b"a" * 20_000 + b"\r\n\r\n"
    assert (await _answer(port, large)).startswith(b"HTTP/1.1 200 ")


async def test_a_port_that_is_taken_is_told_in_one_line(wrapup):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = await wrapup("api", "--port", str(port))
    assert ran.status == 1
    assert ran.err == (
        f"wrapup: Can't listen on 127.0.0.1:{port}: Address already in use. Choose another --host or --port.\n"
    )


async def test_worker_and_scheduler_deliver_and_doctor_finds_all_well(wrapup, submit):
    of_another_program = "redis://127.0.0.1:1/0"
    worker = await wrapup.start("worker", "--processes", "1", BROKER_URL=of_another_program)
    scheduler = await wrapup.start("scheduler")
    await _event(worker, "Connected to redis+socket:")
    await _event(worker, "worker ready")
    await _event(scheduler, "scheduler ready")
    waited = await wrapup(
        *("submit", "--account", "acme", "--ucid", "1234567890123456", "--did", "918012345678"),
        *("--agent-id", "a17", "--disposition", "Sale", "--wait"),
    )
    assert (waited.status, waited.err) == (0, "")
    examined = await wrapup("doctor")
    assert (examined.status, examined.err) == (0, "")
    assert all(line.startswith("ok ") for line in examined.out.splitlines())
    for check in ("secret keys", "broker", "database", "migrations", "account acme", "worker", "scheduler", "clock"):
        assert f"  {check}: " in examined.out
    for process in (worker, scheduler):
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)
        assert process.returncode == 0


async def test_doctor_names_everything_that_is_wrong_and_what_to_do(wrapup, account):
    examined = await wrapup(
        *("doctor", "--json"),
        WRAPUP_BROKER_URL="redis://127.0.0.1:1/0",
        WRAPUP_SECRET_KEYS=Fernet.generate_key().decode(),
    )
    assert examined.status == 1
    findings = {one["check"]: one for one in examined.lines}
    failed = {check for check, one in findings.items() if not one["ok"]}
    assert failed == {"broker", "account acme", "worker", "scheduler"}
    assert all(findings[check]["todo"] for check in failed)


async def test_doctor_without_a_database_still_looks_at_the_rest(bare):
    examined = await bare("doctor", WRAPUP_SECRET_KEYS="short", WRAPUP_BROKER_URL="nonsense://x")
    assert examined.status == 1
    assert [line.split(":")[0] for line in examined.out.splitlines()] == [
        "ok      settings",
        "failed  secret keys",
        "failed  broker",
        "failed  database",
    ]


async def test_a_process_that_lacks_a_setting_says_so_and_ends(bare):
    for command in ("api", "worker", "scheduler"):
        ran = await bare(command)
        assert (ran.status, ran.out) == (1, "")
        assert ran.err.startswith("wrapup: WRAPUP_DATABASE_URL is not set. ")
        assert ran.err.count("\n") == 1
