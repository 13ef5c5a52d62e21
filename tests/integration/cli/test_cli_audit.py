"""``wrapup audit export``: every disposition, whole, in the order of arrival."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta

EXPORT = ("audit", "export")


async def _many(submit, count):
    return sorted(await asyncio.gather(*(submit(ucid=str(10**15 + number)) for number in range(count))))


async def test_every_disposition_is_a_line_with_its_attempts_and_events(wrapup, submit):
    ids = await _many(submit, 600)  # more than one bite
    exported = await wrapup(*EXPORT)
    assert (exported.status, exported.err) == (0, "")
    assert [one["id"] for one in exported.lines] == ids
    assert exported.lines[0]["attempts"] == []
    assert exported.lines[0]["events"][0]["action"] == "accepted"


async def test_a_span_of_time_can_be_chosen(wrapup, submit):
    await submit()
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert (await wrapup(*EXPORT, "--to", later)).out.count("\n") == 1
    assert (await wrapup(*EXPORT, "--from", later)).out == ""
    assert (await wrapup(*EXPORT, "--from", "yesterday")).status == 2


async def test_a_reader_that_leaves_ends_it_quietly(wrapup, submit):
    await _many(submit, 600)
    exporting = await wrapup.start(*EXPORT)
    async with asyncio.timeout(30):
        assert await exporting.stdout.readline()
        exporting.stdout._transport.close()
        err = await exporting.stderr.read()
        status = await exporting.wait()
    assert (status, err) == (1, b"")


async def test_a_full_disk_is_told(wrapup, submit):
    await submit()
    full = os.open("/dev/full", os.O_WRONLY)
    exporting = await wrapup.start(*EXPORT, stdout=full)
    os.close(full)
    _, err = await exporting.communicate()
    assert exporting.returncode == 1
    assert b"No space left on device" in err
    assert err.count(b"\n") == 1


async def test_a_count_is_shown_in_a_terminal_while_the_lines_go_elsewhere(wrapup, submit, terminal):
    user, program = terminal
    await submit()
    exporting = await wrapup.start(*EXPORT, stderr=program, TERM="xterm")
    out, _ = await exporting.communicate()
    assert out.count(b"\n") == 1
    assert b"1 dispositions" in os.read(user, 4000)
