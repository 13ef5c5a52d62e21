"""The apiKey of an account appears nowhere but encrypted in its row, and on the wire to CloudAgent."""

from __future__ import annotations

import asyncio
import base64
import re
import signal
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
from redis import Redis

from app.broker import QUEUE
from app.sandbox import Sandbox
from tests.installation import CALL, Up, Wrapup, client, ucids, until

CANARY = "Zx9QcanaryW7"
API_KEY = f"KK/{CANARY}+%&=k"

# What goes wrong with the calls of one account, which recovers; and with all calls of others, which do not.
FAULTS = (
    *("hang", "hang_after", "slow_drip:100ms", "half", "reset_before", "reset_after", "not_http"),
    *("html", "garbage", "empty", "huge:1", "gzip_bomb", "429:1", "503", "500", "500_success"),
    *("error", "max_limit", "unknown_fail", "unknown_error", "unknown_status"),
)
HOLDS = ("401", "403", "auth_fail", "404", "redirect")

_STREAM = "/v1/stream"


def traces() -> dict[str, bytes]:
    """What the canary looks like, as it is and encoded. None of it needs percent-encoding or escaping."""
    plain = CANARY.encode()
    found = {"as it is": plain, "in hexadecimal": plain.hex().encode(), "reversed": plain[::-1]}
    for shift in range(3):  # how it stands in a longer text in Base64: cut off what depends on its neighbours
        encoded = base64.b64encode(bytes(shift) + plain + bytes(3))
        found[f"in Base64, shifted by {shift}"] = encoded[shift and shift + 1 : 4 * ((shift + len(plain)) // 3)]
    return found


TRACES = traces()


def leaks(places: Iterable[tuple[str, bytes]]) -> list[str]:
    """The places where the canary is, and how. There has to be something in every place that is looked at."""
    places = list(places)
    assert places
    return [f"{place}, {how}" for place, text in places for how, trace in TRACES.items() if trace in text]


def test_the_canary_would_be_found() -> None:
    for text in (API_KEY, quote(API_KEY, safe=""), repr(API_KEY), API_KEY.encode().hex()):
        assert leaks([("text", text.encode())])
    for before in range(6):
        assert leaks([("text", base64.b64encode(b"k" * before + API_KEY.encode()))])


class Heard:
    """Asks the API and runs commands, and keeps all that they say."""

    def __init__(self, wrapup: Wrapup, url: str) -> None:
        self._wrapup = wrapup
        self._url = url
        self.http: httpx.AsyncClient
        self.all: list[tuple[str, bytes]] = []

    async def run(self, *words: str, stdin: str = "") -> str:
        """Runs a command; gives what it prints."""
        ran = await self._wrapup(*words, stdin=stdin)
        self.all.append((f"wrapup {' '.join(words)}", f"{ran.out}{ran.err}".encode()))
        return ran.out

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Sends a request."""
        reply = await self.http.request(method, path, **more)
        self.all.append((f"{method} {path}: {reply.status_code}", str(reply.headers).encode() + reply.content))
        return reply

    async def log_in(self) -> None:
        """From now on requests may do everything."""
        scopes = [f"--scope={scope}" for scope in ("submit", "read", "operate", "admin")]
        self.http = client(self._url, (await self.run("keys", "create", "all", *scopes)).strip())


async def test_an_api_key_is_found_nowhere(wrapup: Wrapup) -> None:
    wrapup.variables |= {
        "WRAPUP_LOG_LEVEL": "debug",
        "WRAPUP_CALL_DEADLINE_SECONDS": "1",
        "WRAPUP_RETRY_DELAYS": "100ms",
        "WRAPUP_MAX_ATTEMPTS": "3",
    }
    up = wrapup.up("--no-sandbox")
    heard = Heard(wrapup, await up.ready())
    await heard.log_in()
    async with heard.http, Sandbox(api_key=API_KEY, customer="acme") as cloudagent:
        customers = await set_up_accounts(heard, cloudagent)
        await be_a_crm_that_knows_cloudagent_only(heard)

        # Dispositions are posted while the worker stands still, so that what the broker carries can be read.
        up.send_signal("worker", signal.SIGSTOP)
        ids = await post_what_will_fail(heard, cloudagent, customers)
        await until(lambda: QUEUE in dict(queued(up)))
        messages = list(queued(up))
        up.send_signal("worker", signal.SIGCONT)

        async def settled() -> bool:
            states = (await heard.http.get("/v1/stats")).json()["states"]
            return states["held"] == len(HOLDS) and not any(states[s] for s in ("queued", "sending", "retrying"))

        await until(settled, 60)
        replay_id, schedule = await send_again(heard)
        failures = [one["id"] for one in (await heard.ask("GET", "/v1/failures")).json()["items"]]
        assert failures
        await ask_for_everything(
            heard,
            disposition_id=ids,
            customer=customers,
            failure_id=failures,
            replay_id=[replay_id],
            name=["all", schedule],
        )
        await watch(heard)
    assert {arrival.fault for arrival in cloudagent.log} >= {*FAULTS, *HOLDS}
    assert all(arrival.credential_right for arrival in cloudagent.log)

    tables = list(rows(up))
    assert {"accounts", "attempts", "events", "dispositions"} <= {name for name, _ in tables}
    assert leaks(heard.all) == []
    assert leaks(messages) == []
    assert leaks(queued(up)) == []
    assert leaks(tables) == []
    assert leaks(seen_by_others(wrapup)) == []
    assert await up.stop() == 0
    assert leaks(files(wrapup.folder)) == []  # logs, tables, write-ahead log, what the broker wrote
    assert '"level": "debug"' in up.output


async def set_up_accounts(heard: Heard, cloudagent: Sandbox) -> list[str]:
    """Sets up accounts in every way that there is, and in wrong ones. Only the first can deliver."""
    for base_url in ("gopher://x", cloudagent.url):
        await heard.run("accounts", "set", "acme", "--api-key-stdin", f"--base-url={base_url}", stdin=f"{API_KEY}\n")
    base_urls = dict.fromkeys(HOLDS, cloudagent.url)
    base_urls |= {"unreachable": free_url(), "tls": cloudagent.url.replace("http:", "https:")}
    for customer, base_url in base_urls.items():
        settings = {"api_key": API_KEY, "base_url": base_url}
        assert (await heard.ask("PUT", f"/v1/accounts/{customer}", json=settings)).status_code == 200
    for fault in HOLDS:
        cloudagent.account(fault, api_key=API_KEY)
        cloudagent.misbehave(fault, mix=f"{fault}=100")
    for wrong in ({"base_url": "gopher://x"}, {"api_key": [API_KEY]}, {"api_keys": API_KEY}, {"path": 7}):
        reply = await heard.ask("PUT", "/v1/accounts/wrong", json={"api_key": API_KEY} | wrong)
        assert reply.status_code == 422
    assert (await heard.ask("PUT", "/v1/accounts/wrong", content=API_KEY)).is_client_error
    return ["acme", *base_urls]


async def be_a_crm_that_knows_cloudagent_only(heard: Heard) -> None:
    """Sends the apiKey in the query, as CloudAgent has it; once in vain."""
    for customer, answer in (("acme", "Success"), ("nobody", "Fail")):
        query = {"apiKey": API_KEY, "customer": customer, "agentID": "a17", "action": "set", "ucid": "7"}
        query |= {"did": CALL["did"], "disposition": CALL["disposition"]}
        reply = await heard.ask("GET", "/CAServices/Disposition/DispositionAPIV3.php", params=query)
        assert reply.json()["status"] == answer


async def post_what_will_fail(heard: Heard, cloudagent: Sandbox, customers: list[str]) -> list[str]:
    """Posts a disposition for each fault, and one for each account; gives their ids."""
    fields = []
    for ucid, fault in zip(ucids(len(FAULTS)), FAULTS, strict=True):
        cloudagent.script(ucid, [fault])
        fields.append({"account": "acme", "ucid": ucid} | CALL)
    fields += [{"account": customer, "ucid": "42"} | CALL for customer in customers]
    replies = [await heard.ask("POST", "/v1/dispositions", json=one) for one in fields]
    assert {reply.status_code for reply in replies} == {202}
    return [reply.json()["id"] for reply in replies]


async def send_again(heard: Heard) -> tuple[str, str]:
    """Replays what has failed, and has it replayed each night; gives the replay's id and the schedule's name."""
    replay = {"filter": {"account": "acme", "state": "failed"}, "reason": "once more"}
    started = await heard.ask("POST", "/v1/replays", json=replay)
    assert started.is_success, started.text
    schedule = {"name": "nightly", "cron": "0 2 * * *", "time_zone": "Asia/Kolkata", "replay": replay}
    recurring = await heard.ask("POST", "/v1/schedules", json=schedule)
    assert recurring.is_success, recurring.text
    return started.json()["id"], schedule["name"]


async def watch(heard: Heard) -> None:
    """Hears what the stream tells of all that has happened."""
    told = 0
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(3),
            heard.http.stream("GET", _STREAM, headers={"Last-Event-ID": "0"}) as reply,
        ):
            async for line in reply.aiter_lines():
                heard.all.append((f"GET {_STREAM}", line.encode()))
                told += line.startswith("data:")
    assert told


async def ask_for_everything(heard: Heard, **values: list[str]) -> None:
    """Gets every route, with each value of the parameter in it, and runs every command that shows something."""
    routes = (await heard.ask("GET", "/openapi.json")).json()["paths"]
    for path in [path for path, methods in routes.items() if "get" in methods and path != _STREAM] + ["/docs"]:
        parameter = "".join(re.findall(r"{(\w+)}", path))
        for value in values[parameter] if parameter else [""]:
            await heard.ask("GET", path.replace(f"{{{parameter}}}", value))
    shown = values["disposition_id"][0]
    commands = (f"show {shown}", "audit export", "accounts list --json", "doctor")
    await asyncio.gather(*(heard.run(*words.split()) for words in commands))


def free_url() -> str:
    """Where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def queued(up: Up) -> Iterator[tuple[str, bytes]]:
    """Every key of the broker with what it holds."""
    path = up.servers["broker_url"].partition("://")[2].partition("?")[0]
    with Redis(unix_socket_path=path) as valkey:
        for key in valkey.scan_iter():
            match valkey.type(key):
                case b"list":
                    held = b"\n".join(valkey.lrange(key, 0, -1))
                case b"set":
                    held = b"\n".join(valkey.smembers(key))
                case b"hash":
                    held = b"\n".join(part for pair in valkey.hgetall(key).items() for part in pair)
                case b"zset":
                    held = b"\n".join(valkey.zrange(key, 0, -1))
                case b"string":
                    held = valkey.get(key)
                case other:
                    raise AssertionError(f"{key!r} is a {other!r}, which is not looked into")
            yield key.decode(), key + b"\n" + held


def rows(up: Up) -> Iterator[tuple[str, bytes]]:
    """Every table as text."""
    with psycopg.connect(up.servers["database_url"]) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            found = connection.execute(f'SELECT t::text FROM "{table}" t').fetchall()
            yield table, "\n".join(text for (text,) in found).encode()
        connection.execute("CHECKPOINT")


def seen_by_others(wrapup: Wrapup) -> Iterator[tuple[str, bytes]]:
    """The arguments and the environment of every process."""
    for pid in wrapup.processes():
        for name in ("cmdline", "environ"):
            yield f"{name} of {pid}", Path(f"/proc/{pid}/{name}").read_bytes()


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()
