"""``wrapup up`` through starts, stops and kills. What its supervisor does alone: ``test_embedded_supervisor.py``."""

from __future__ import annotations

import shlex
import signal
import socket
from typing import Any

import httpx

from tests.installation import CALL, Up, Wrapup, children, client, lives, ucids, until


def api(up: Up) -> httpx.AsyncClient:
    """The API with the key of the curl line."""
    key = next(word for word in shlex.split(up.curl_line) if word.startswith("Authorization"))
    return client(up.url, key.split()[-1])


async def send(up: Up, ucid: str) -> str:
    """Posts a disposition and returns its id when it is delivered."""
    async with api(up) as http:
        reply = await http.post("/v1/dispositions", json={"ucid": ucid, **CALL})
        assert reply.status_code == 202, reply.text

        async def delivered() -> bool:
            return bool((await http.get(reply.headers["Location"])).json()["state"] == "delivered")

        await until(delivered)
    return str(reply.json()["id"])


async def look_up(up: Up, disposition_id: str) -> dict[str, Any]:
    async with api(up) as http:
        return dict((await http.get(f"/v1/dispositions/{disposition_id}")).json())


async def test_killed_or_stopped_it_leaves_no_process_behind_and_starts_again_with_all_that_it_had(
    wrapup: Wrapup,
) -> None:
    first, second = ucids(2)
    up = wrapup.up("--worker-processes=3")
    await up.ready()
    before = await look_up(up, await send(up, first))
    kept = {name: (up.data_dir / name).read_text() for name in ("secret.key", "sandbox.key", "sandbox.json")}
    await until(lambda: len(children(up.pid_of("worker"))) == 3)
    assert len(wrapup.processes()) > 12  # up, sandbox, API, scheduler, worker with three children, Valkey, PostgreSQL
    up.process.kill()
    await up.ended()
    await until(lambda: not wrapup.processes(), 10)

    up = wrapup.up()
    await up.ready()
    assert await look_up(up, before["id"]) == before
    assert {name: (up.data_dir / name).read_text() for name in kept} == kept
    await send(up, second)  # with the apiKey that was encrypted before
    assert await up.stop() == 0
    assert wrapup.processes() == {}
    assert not (up.data_dir / "servers.json").exists()


async def test_whichever_of_its_processes_is_killed_dispositions_go_on_arriving(wrapup: Wrapup) -> None:
    up = wrapup.up()
    await up.ready()
    calls = ucids(10)
    await send(up, next(calls))
    for name in ("scheduler", "sandbox", "worker", "api"):
        killed = up.pid_of(name)
        with_it = children(killed)
        up.send_signal(name, signal.SIGKILL)
        await until(lambda: up.pid_of(name) not in (0, killed))  # noqa: B023  # awaited within the loop
        assert not any(map(lives, with_it)), f"the children of the {name} outlived it"
        await until(lambda: answers(up))
        await send(up, next(calls))


async def answers(up: Up) -> bool:
    """Whether the API is there."""
    async with api(up) as http:
        try:
            return (await http.get("/health/live")).is_success
        except httpx.TransportError:
            return False


async def test_a_port_that_is_taken_is_said_in_one_line(wrapup: Wrapup) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = await wrapup("up", f"--port={port}", "--data-dir=data")
    assert ran.status == 1
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert f"127.0.0.1:{port} can't be listened on" in ran.err
    assert wrapup.processes() == {}
