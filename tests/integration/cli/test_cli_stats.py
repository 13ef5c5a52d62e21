"""``wrapup stats``."""

from __future__ import annotations

import asyncio
import os
import signal

import orjson


async def test_it_counts_by_state_and_account(wrapup, submit):
    for number in range(3):
        await submit(ucid=str(number + 1))
    found = (await wrapup("stats", "--json")).json
    assert found["states"]["queued"] == 3
    assert found["accounts"] == {"acme": {"queued": 3}}
    assert found["at"].endswith("Z")
    shown = (await wrapup("stats")).out
    assert "oldest due" in shown
    assert [line.split()[:2] for line in shown.splitlines() if line.startswith(("acme", "all"))] == [
        ["acme", "3"],
        ["all", "3"],
    ]


async def test_watched_it_prints_a_line_each_second_until_it_is_interrupted(wrapup, submit):
    watching = await wrapup.start("stats", "--watch", "--json")
    async with asyncio.timeout(30):
        first = orjson.loads(await watching.stdout.readline())
        await submit()
        while (orjson.loads(await watching.stdout.readline()))["states"]["queued"] == first["states"]["queued"]:
            pass
        watching.send_signal(signal.SIGINT)
        _, err = await watching.communicate()
    assert (watching.returncode, err) == (0, b"")


async def test_in_a_terminal_it_redraws(wrapup, submit, terminal):
    user, program = terminal
    await submit()
    watching = await wrapup.start("stats", "--watch", stdout=program, stderr=program, TERM="xterm")
    os.close(program)
    seen = b""
    async with asyncio.timeout(30):
        while seen.count(b"oldest due") < 2:
            seen += await asyncio.to_thread(os.read, user, 4000)
        watching.send_signal(signal.SIGINT)
        assert await watching.wait() == 0
    assert b"\x1b[1A" in seen  # up a line, over what was there
    assert b"acme" in seen
