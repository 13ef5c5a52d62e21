"""Read this first: what a newcomer does with Wrapup, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import time
from datetime import datetime

import httpx

from tests.installation import Wrapup, until


async def test_a_disposition_is_posted_stored_delivered_and_looked_up(wrapup: Wrapup) -> None:
    # One command starts everything: PostgreSQL, Valkey, API, worker, scheduler, and a stand-in for CloudAgent.
    up = wrapup.up()
    url = await up.ready()
    took = time.monotonic() - up.started
    print(f"ready after {took:.1f} s")
    assert took < 30  # about 4 on two idle cores; this machine may have other things to do

    # It prints a curl line. What that posts is answered with 202, once it is stored.
    request = _request_of(up.curl_line)
    async with httpx.AsyncClient(trust_env=False) as client:
        reply = await client.send(request)
        assert reply.status_code == 202, reply.text
        receipt = reply.json()
        assert receipt["state"] == "queued"
        assert receipt["duplicate"] is False
        assert reply.headers["Location"] == f"/v1/dispositions/{receipt['id']}"

        # The line itself, pasted into a shell, is the same disposition, and nothing is stored twice.
        again = await _paste(up.curl_line)
        assert again == receipt | {"state": again["state"], "duplicate": True}

        # A worker delivers it. Its attempt is there with all that CloudAgent said.
        headers = {"Authorization": request.headers["Authorization"]}

        async def delivered() -> dict[str, object] | None:
            found = (await client.get(url + reply.headers["Location"], headers=headers)).json()
            return found if found["state"] == "delivered" else None

        found = await until(delivered)
        stand_in = await client.get(up.servers["sandbox_url"] + "/_sandbox/log")
    sent = json.loads(request.content)
    assert {name: found[name] for name in sent} == sent
    assert (found["outcome"], found["cause"], found["attempt_count"]) == ("saved", None, 1)
    [attempt] = found["attempts"]
    assert attempt | {"id": "", "started_at": "", "finished_at": "", "latency_ms": 0} == {
        "id": "",
        "number": 1,
        "started_at": "",
        "finished_at": "",
        "outcome": "saved",
        "certainty": "answered",
        "http_status": 200,
        "reply_status": "Success",
        "reply_details": "Disposition saved successfully",
        "latency_ms": 0,
        "notes": [],
    }
    accepted, started, finished, ended = (
        datetime.fromisoformat(text)
        for text in (found["created_at"], attempt["started_at"], attempt["finished_at"], found["finished_at"])
    )
    assert accepted <= started <= finished <= ended
    assert 0 <= attempt["latency_ms"] <= (finished - started).total_seconds() * 1000 + 1
    assert [(event["action"], event["from"], event["to"]) for event in found["events"]] == [
        ("accepted", None, "queued"),
        ("delivered", "sending", "delivered"),
    ]

    # CloudAgent was called once, by that attempt.
    [arrival] = map(json.loads, stand_in.text.splitlines())
    assert arrival["request_id"] == attempt["id"]
    assert arrival["ucid"] == sent["ucid"]
    assert arrival["applied"]

    # The commands beside it say the same.
    shown, as_text, stats, export = await asyncio.gather(
        wrapup("show", receipt["id"], "--json"),
        wrapup("show", receipt["id"]),
        wrapup("stats", "--json"),
        wrapup("audit", "export"),
    )
    assert shown.json == found
    assert attempt["id"] in as_text.out
    assert "Disposition saved successfully" in as_text.out
    assert stats.json["states"]["delivered"] == 1
    assert stats.json["outcomes"] == {"saved": 1}
    assert export.lines == [found]


def _request_of(curl_line: str) -> httpx.Request:
    """What curl sends for it."""
    words = shlex.split(curl_line)
    assert words[:2] == ["curl", "-sS"]
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    return httpx.Request("POST", words[2], headers=headers, content=words[words.index("-d") + 1])


async def _paste(curl_line: str) -> dict[str, object]:
    """What curl prints, run by a shell; where there is no curl, what it would print."""
    if shutil.which("curl") is None:
        async with httpx.AsyncClient(trust_env=False) as client:
            return dict((await client.send(_request_of(curl_line))).json())
    shell = await asyncio.create_subprocess_exec("sh", "-c", curl_line, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        printed, _ = await shell.communicate()
    return dict(json.loads(printed))
