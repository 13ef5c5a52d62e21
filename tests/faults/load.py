"""The clients: each writes down what it was told, with the times, and nothing that it knows otherwise."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

_PATIENCE = 4.0  # seconds that a client waits for an answer
_TRIES = 6


class Load:
    """Clients of one run. ``pause``: seconds between two posts of one of them, on average."""

    def __init__(self, url: str, key: str, log: Path, chance: random.Random, *, pause: float = 0.1) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=_PATIENCE, trust_env=False
        )
        self._log = log.open("a", buffering=1)
        self._chance = chance
        self._pause = pause
        self._ucids = (str(number) for number in itertools.count(1_700_000_000_000_000))
        self._names: Iterator[int] = itertools.count(1)
        self._stopping = asyncio.Event()
        self.accepted = 0

    def stop(self) -> None:
        """Each client ends the call that it is at."""
        self._stopping.set()

    async def aclose(self) -> None:
        await self._http.aclose()
        self._log.close()

    async def agent(self, account: str, *, calm: bool = False) -> None:
        """Posts one call's dispositions after another's: up to three for each, in order."""
        while not self._stopping.is_set():
            ucid = next(self._ucids)
            for place in range(1, self._chance.choice((1, 2, 2, 3, 3)) + 1):
                known = await self._post(account, ucid, place, calm=calm)
                if known and self._chance.random() < 0.08:
                    await self._ask(f"/v1/dispositions/{known}/cancel", {})
                await asyncio.sleep(self._chance.uniform(0, self._pause * 2))

    async def operator(self, account: str) -> None:
        """Holds the account and releases it, again and again; leaves it released."""
        while not self._stopping.is_set():
            await self._until_done(account, "hold")
            await self._wait(self._chance.uniform(2.5, 4))
            await self._until_done(account, "release")
            await self._wait(self._chance.uniform(0.5, 1.5))

    async def releaser(self, account: str) -> None:
        """Releases the account whenever it may have come on hold."""
        while not self._stopping.is_set():
            await self._wait(2)
            await self._until_done(account, "release")

    async def release(self, *accounts: str) -> None:
        for account in accounts:
            await self._until_done(account, "release")

    async def _post(self, account: str, ucid: str, place: int, *, calm: bool) -> str | None:
        """Posts one disposition until it is told something for certain; gives its id then."""
        name = f"n{next(self._names)}"
        body = {"account": account, "ucid": ucid, "did": "918012345678", "agent_id": "a17", "disposition": "Sale"}
        body["comments"] = name
        headers = {"Idempotency-Key": name} if self._chance.random() < 0.4 else {}
        hurried = self._chance.random() < 0.03
        for _ in range(_TRIES):
            sent = _now()
            reply = await self._ask("/v1/dispositions", body, headers, wait=0.003 if hurried else _PATIENCE)
            status, told = reply
            line = {"kind": "post", "account": account, "ucid": ucid, "place": place, "comments": name, "calm": calm}
            self._write(line | {"sent_at": sent, "told_at": _now(), "status": status, "id": told.get("id")})
            if status in (200, 202):
                self.accepted += 1
                return str(told["id"])
            if hurried:
                return None  # went away before the answer came
            if self._stopping.is_set():
                return None
            await asyncio.sleep(self._chance.uniform(0.02, 0.2))
        return None

    async def _until_done(self, account: str, kind: str) -> None:
        while True:
            sent = _now()
            status, _ = await self._ask(f"/v1/accounts/{account}/{kind}", {"reason": "make faults"})
            line = {"kind": kind, "account": account, "sent_at": sent, "told_at": _now(), "status": status}
            self._write(line)
            if status == 200:
                return
            await asyncio.sleep(0.1)

    async def _ask(
        self, path: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None, wait: float = _PATIENCE
    ) -> tuple[int | None, dict[str, Any]]:
        """Status and answer; None if none came."""
        try:
            async with asyncio.timeout(wait):
                reply = await self._http.post(path, json=body, headers=headers)
        except (httpx.TransportError, TimeoutError):
            return None, {}
        return reply.status_code, reply.json() if reply.content else {}

    def _write(self, line: Mapping[str, object]) -> None:
        self._log.write(json.dumps(line) + "\n")

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
