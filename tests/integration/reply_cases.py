"""What the tests of the reply tables share: cases, each with an account and a call of its own, all sent at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from deliveries import deliver, fields, open_account, ucid

from app.sandbox import Disposition, Sandbox
from app.sandbox.log import Request
from app.services.accounts import AccountSettings
from app.services.keys import OPERATOR
from app.settings import Settings
from app.wiring import Services, open_services

ATTEMPTS = 3
DEADLINE = 0.5  # seconds, where CloudAgent is too slow
CALLBACK = {"callback_time": "2026-12-24 10:30:00"}

Arrange = Callable[[Sandbox, str, str], object]


@dataclass(frozen=True)
class Case:
    """What CloudAgent does, and what is to come of it. ``arrange`` makes CloudAgent so, for a customer and a UCID."""

    name: str
    outcome: str
    state: str = "delivered"
    script: str = ""
    sent: dict[str, object] = field(default_factory=dict)
    arrange: Arrange = lambda sandbox, customer, ucid: None
    base_url: str | None = None
    cause: str | None = None
    attempts: int = 1
    first_outcome: str | None = None
    certainty: str = "answered"
    details: str | None = None
    slow: bool = False


@dataclass(frozen=True)
class Seen:
    """What came of a case: as Wrapup shows it, and as CloudAgent saw it."""

    shown: dict[str, Any]
    requests: list[Request]


def knows(**settings: Any) -> Arrange:
    """CloudAgent knows this, and nothing else, of the account."""
    return lambda sandbox, customer, ucid: sandbox.account(customer, **settings)


def knows_call(did: str) -> Arrange:
    return lambda sandbox, customer, ucid: sandbox.account(customer, calls={ucid: did})


def call_is_going_on(sandbox: Sandbox, customer: str, ucid: str) -> None:
    sandbox.gate.accounts[customer].announce(ucid, ongoing=True)


def call_holds(**wanted: str) -> Arrange:
    """The call has a disposition already."""

    def arrange(sandbox: Sandbox, customer: str, ucid: str) -> None:
        held = Disposition(agent_id="a17", disposition="Sale", **wanted)
        sandbox.gate.accounts[customer].announce(ucid).held = held

    return arrange


def failed(name: str, outcome: str, **more: Any) -> Case:
    """A permanent refusal: one attempt, and the outcome is the cause."""
    return Case(name, outcome, "failed", cause=outcome, **more)


def waits(name: str, outcome: str, script: str = "", **more: Any) -> Case:
    """Something that may pass, and does not: all attempts are used up."""
    script = script and f"{script}*"
    return Case(name, outcome, "failed", script, cause="attempts_exhausted", attempts=ATTEMPTS, **more)


def unsure(name: str, outcome: str, script: str, **more: Any) -> Case:
    """The same, and each time nobody knows whether the disposition was applied."""
    return waits(name, outcome, script, certainty="sent_unknown", **more)


def held(name: str, outcome: str, script: str = "", **more: Any) -> Case:
    """The account is in trouble, as a second attempt confirms: it is held, and its disposition waits."""
    return Case(name, outcome, "held", script and f"{script}*", attempts=2, **more)


def closed_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def send(case: Case, number: int, services: Services, sandbox: Sandbox, api: str) -> dict[str, object]:
    """Arranges CloudAgent for the case and makes its request."""
    customer, call = f"customer{number}", ucid(number)
    await open_account(services, sandbox, customer, api=api)
    if case.base_url is not None:
        base_url = case.base_url.format(sandbox=sandbox.url.removeprefix("http://"))
        await services.accounts.set(customer, AccountSettings(base_url=base_url), actor="test")
    case.arrange(sandbox, customer, call)
    sandbox.script(call, case.script or [])
    return fields(call, account=customer, **case.sent)


async def play(
    settings: Settings, sandbox: Sandbox, cases: Sequence[Case], api: str, *, first: int = 0
) -> dict[str, Seen]:
    """Sends all cases to accounts of that flavour, numbered from ``first``, and waits until all is settled."""
    results: dict[str, Seen] = {}
    async with open_services(settings, name="test") as services:
        for slow in (False, True):
            numbered = [(number, case) for number, case in enumerate(cases, first) if case.slow is slow]
            deadline = {"call_deadline_seconds": DEADLINE} if slow else {}
            requests = [await send(case, number, services, sandbox, api) for number, case in numbered]
            receipts = await asyncio.gather(*(services.intake.accept(request, OPERATOR) for request in requests))
            whole = await deliver(
                services, settings.model_copy(update=deadline), [receipt.id for receipt in receipts], seconds=30
            )
            for (number, case), shown in zip(numbered, whole, strict=True):
                results[case.name] = Seen(shown, sandbox.seen(ucid(number)))
    return results


def check_state(case: Case, seen: Seen) -> None:
    """The case came to its state, by its outcome, in its number of attempts."""
    shown, attempts = seen.shown, seen.shown["attempts"]
    assert (shown["state"], shown["outcome"], shown["cause"]) == (case.state, case.outcome, case.cause)
    assert (len(attempts), shown["attempt_count"]) == (case.attempts, case.attempts)
    assert attempts[0]["outcome"] == (case.first_outcome or case.outcome)
    assert (attempts[-1]["outcome"], attempts[-1]["certainty"]) == (case.outcome, case.certainty)
    assert (shown["finished_at"] is None) == (case.state == "held")
    if case.details is not None:
        assert attempts[-1]["reply_details"] == case.details.format(ucid=shown["ucid"])


def check_attempts(seen: Seen) -> None:
    """Every request that arrived has one attempt, with its end."""
    attempts = seen.shown["attempts"]
    assert [attempt["number"] for attempt in attempts] == list(range(1, len(attempts) + 1))
    assert all(attempt["finished_at"] and attempt["latency_ms"] is not None for attempt in attempts)
    arrived = [attempt for attempt in attempts if attempt["certainty"] != "not_sent"]
    assert [request.request_id for request in seen.requests] == [str(attempt["id"]) for attempt in arrived]
