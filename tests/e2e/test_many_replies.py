"""2,000 dispositions, and a CloudAgent that answers as oddly as it can. Its own log is held against the audit trail."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from app.sandbox import Request, Sandbox
from tests.installation import CALL, Wrapup, client, ucids, until

COUNT = 2000
REPEATED = 100  # of them get a second disposition, which is the one that counts

# Of a hundred requests so many are answered like this; the others as it should be. With what each has to come to.
FAULTS: Mapping[str, tuple[float, str]] = {
    "error": (6, "retry_later"),
    "unknown_error": (2, "retry_later"),
    "max_limit": (1, "rate_limited"),
    "429:1": (2, "rate_limited"),
    "503": (5, "upstream_error"),
    "503:1+latency:100ms": (1, "upstream_error"),
    "500": (1, "upstream_error"),
    "500_success": (1, "upstream_error"),
    "html": (3, "unreadable_reply"),
    "garbage": (2, "unreadable_reply"),
    "empty": (1, "unreadable_reply"),
    "huge:1": (0.3, "unreadable_reply"),
    "unknown_status": (1, "unreadable_reply"),
    "not_http": (1, "no_reply"),
    "reset_before": (3, "no_reply"),
    "reset_after": (3, "no_reply"),
    "half": (2, "no_reply"),
    "hang": (0.3, "no_reply"),
    "unknown_fail": (4, "refused"),
}
ODDITIES = (
    *("odd_spacing", "odd_spacing+upper_case", "lower_case+key_order", "key_case+bom", "message+extra_keys"),
    *("wrong_content_type", "odd_spacing+bom+message+key_case+extra_keys", "slow_drip:1ms"),
)
MIX = ",".join([f"{fault}={share}" for fault, (share, _) in FAULTS.items()] + [f"{oddity}=3" for oddity in ODDITIES])

# What CloudAgent's own rows have to come to.
ROWS = {"saved": "saved", "queued": "queued_upstream", "invalid_call": "invalid_call", "invalid_agent": "invalid_agent"}
DELIVERED = {"saved", "queued_upstream"}
NO_REPEAT_HELPS = {"invalid_call", "invalid_agent", "refused"}

DEADLINE_SECONDS = 3


def fields() -> Iterator[dict[str, str]]:
    """What is posted: mostly right; some for unknown agents and calls, and for calls that are under way."""
    for number, ucid in enumerate(ucids(COUNT - REPEATED)):
        match number % 19:
            case 7:
                yield CALL | {"ucid": ucid, "agent_id": f"unknown{number}"}
            case 11:
                yield CALL | {"ucid": f"40400{number:010}"}
            case 13:
                yield CALL | {"ucid": f"20200{number:010}"}
            case _:
                yield CALL | {"ucid": ucid, "comments": f"no. {number}: 100 % “sure” & then some"}
    for ucid in islice(ucids(COUNT), 0, 19 * REPEATED, 19):
        yield CALL | {"ucid": ucid, "disposition": "Call back"}


async def test_every_202_ends_and_every_arrival_has_its_one_attempt(wrapup: Wrapup) -> None:
    up = wrapup.up(
        "--no-sandbox",
        WRAPUP_CALL_DEADLINE_SECONDS=str(DEADLINE_SECONDS),
        WRAPUP_RETRY_DELAYS="50ms,100ms,200ms",
        WRAPUP_MAX_ATTEMPTS="50",
        WRAPUP_LOG_LEVEL="warning",
    )
    url = await up.ready()
    async with Sandbox(api_key="k", customer="acme", latency="1ms-30ms", faults=MIX, seed=7) as cloudagent:
        key = await up.open_account("acme", "k", cloudagent.url)
        began = time.monotonic()
        accepted: dict[str, dict[str, str]] = {}
        async with client(url, key) as http:
            waiting = fields()

            async def post() -> None:
                while batch := list(islice(waiting, 20)):
                    reply = await http.post("/v1/dispositions/batch", json={"dispositions": batch})
                    for one, result in zip(batch, reply.json()["results"], strict=True):
                        assert result["status"] == 202, result
                        accepted[result["id"]] = one

            await asyncio.gather(*(post() for _ in range(5)))
            posted = time.monotonic()

            async def settled() -> bool:
                states = (await http.get("/v1/stats")).json()["states"]
                return not any(states[state] for state in ("queued", "sending", "retrying", "held"))

            await until(settled, 90, every=0.2)
            print(f"{COUNT} posted within {posted - began:.1f} s, all settled {time.monotonic() - posted:.1f} s later")
    exported = {one["id"]: one for one in (await wrapup("audit", "export")).lines}

    assert exported.keys() == accepted.keys()
    arrived = {str(arrival.request_id): arrival for arrival in cloudagent.log}
    assert len(arrived) == len(cloudagent.log)  # no two with one attempt's id
    attempts = {attempt["id"]: attempt for one in exported.values() for attempt in one["attempts"]}
    assert len(attempts) == sum(one["attempt_count"] for one in exported.values())
    assert arrived.keys() <= attempts.keys()
    for one in exported.values():
        check_as_posted(one, accepted[one["id"]])
        check_attempts(one, arrived)
        check_state(one, exported)
    check_that_the_newest_won(exported, cloudagent)

    seen = {arrival.fault or arrival.row for arrival in cloudagent.log}
    assert seen >= {*FAULTS, *ODDITIES, *ROWS}
    print(Counter(one["outcome"] if one["state"] == "delivered" else one["cause"] for one in exported.values()))


def check_as_posted(one: dict[str, Any], fields: dict[str, str]) -> None:
    """What is exported is what was posted."""
    assert {name: one[name] for name in fields} == fields
    assert one["account"] == "acme"
    assert one["attempt_count"] == len(one["attempts"])
    assert [attempt["number"] for attempt in one["attempts"]] == list(range(1, len(one["attempts"]) + 1))


def check_attempts(one: dict[str, Any], arrived: Mapping[str, Request]) -> None:
    """Each attempt says what CloudAgent did; and what did not arrive is not said to be answered."""
    for attempt in one["attempts"]:
        arrival = arrived.get(attempt["id"])
        if arrival is None:
            assert attempt["certainty"] in ("not_sent", "sent_unknown"), attempt
            continue
        assert arrival.ucid == one["ucid"]
        assert arrival.parameters["disposition"] == one["disposition"]
        assert arrival.parameters.get("comments") == one["comments"]
        _, expected = FAULTS.get(arrival.fault or "", (0, ""))
        if attempt["outcome"] == "no_reply" and attempt["latency_ms"] >= DEADLINE_SECONDS * 1000 - 50:
            continue  # it hung; or this machine has so much else to do (a loop's timer may be a little early)
        assert attempt["outcome"] == (expected or ROWS[str(arrival.row)]), (attempt, arrival)


def check_state(one: dict[str, Any], exported: Mapping[str, Any]) -> None:
    """The last attempt decides; and none was made after one that had settled it."""
    outcomes = [attempt["outcome"] for attempt in one["attempts"]]
    assert not {*outcomes[:-1]} & (DELIVERED | NO_REPEAT_HELPS)
    match one["state"]:
        case "delivered":
            assert outcomes[-1] in DELIVERED
            assert (one["outcome"], one["cause"]) == (outcomes[-1], None)
        case "failed":
            assert outcomes[-1] in NO_REPEAT_HELPS
            assert (one["outcome"], one["cause"]) == (outcomes[-1], outcomes[-1])
        case "superseded":
            newer = exported[one["superseded_by"]]
            assert (newer["ucid"], newer["disposition"]) == (one["ucid"], "Call back")
            assert not {*outcomes} & (DELIVERED | NO_REPEAT_HELPS)
        case other:
            raise AssertionError(f"{one['id']} ended as {other}")
    assert one["finished_at"]
    assert one["next_attempt_at"] is None
    assert one["events"][-1]["to"] == one["state"]


def check_that_the_newest_won(exported: Mapping[str, Any], cloudagent: Sandbox) -> None:
    """What CloudAgent holds of a call is its newest disposition, if that was delivered."""
    of_call: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in exported.values():
        of_call[one["ucid"]].append(one)
    assert sum(len(several) == 2 for several in of_call.values()) == REPEATED
    for ucid, several in of_call.items():
        call = cloudagent.call(ucid, "acme")
        newest = several[-1]  # the export is in the order of acceptance
        if newest["state"] == "delivered":
            assert call is not None
            held = call.held or call.queued
            assert held is not None
            assert held.disposition == newest["disposition"]
