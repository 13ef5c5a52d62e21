"""The rows of V2's reply table through the whole stack, and where V2 differs: a call's disposition is set once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from reply_cases import (
    CALLBACK,
    Case,
    Seen,
    call_holds,
    call_is_going_on,
    check_attempts,
    check_state,
    closed_port,
    failed,
    held,
    knows,
    play,
    unsure,
    waits,
)

from app.sandbox import DECORATIONS, Sandbox
from app.settings import Settings

WRONG_CALL = "Invalid ucid [{ucid}] or did [918012345678"
WRONG_KEY = "Invalid userName or apiKey"
DISPOSED = "This call is already Disposed."
PAUSED = {"pause_after_dispose": True}

SAVED = Case("Success", "saved", details="Disposition saved successfully")
QUEUED = Case("Queued", "queued_upstream", arrange=call_is_going_on, details="Disposition Queued Successfully")
ALREADY = failed("Second set", "already_disposed", arrange=call_holds(), details=DISPOSED)
WRONG = held("Invalid api key", "authentication_failed", arrange=knows(api_key="another"), details=WRONG_KEY)

TABLE = [
    SAVED,
    QUEUED,
    ALREADY,
    WRONG,
    held(
        "Invalid user name",
        "authentication_failed",
        arrange=lambda sandbox, customer, ucid: sandbox.gate.accounts.pop(customer),
        details=WRONG_KEY,
    ),
    failed("Invalid UCID", "invalid_call", arrange=knows(calls={}), details=WRONG_CALL),
    failed("Invalid agent", "invalid_agent", sent={"agent_id": "unknown7"}, details="Invalid agent"),
    failed("Invalid action", "invalid_action", script="invalid_action"),
    failed("Empty disposition", "empty_disposition", script="empty_disposition"),
    failed("Pausing without a reason", "pause_reason_missing", sent=PAUSED, details="Provide pause reason."),
    Case("Pausing with a reason", "saved", sent={**PAUSED, "pause_reason": "Lunch"}),
    Case("A call-back time", "saved", sent=CALLBACK),
    Case(
        "A call-back time, whatever format the account takes",
        "saved",
        sent=CALLBACK,
        arrange=knows(callback_formats=["mdy"]),
    ),
    waits("Any other Error", "retry_later", "error"),
    waits("Max limit exceeded", "rate_limited", "max_limit"),
    failed("an unknown Fail", "refused", script="unknown_fail"),
]

ANYWAY = [
    waits("HTTP 429", "rate_limited", "429"),
    waits("HTTP 503", "upstream_error", "503"),
    waits("refused connection", "unreachable", base_url=f"http://127.0.0.1:{closed_port()}", certainty="not_sent"),
    unsure("read timeout", "no_reply", "hang", slow=True),
    unsure("reset after sending", "no_reply", "reset_before"),
    unsure("200 with HTML", "unreadable_reply", "html"),
    unsure("a body that is too large", "unreadable_reply", "huge"),
    held("HTTP 401", "authentication_failed", script="401"),
    held("HTTP 404", "misconfigured", script="404"),
    held("a redirect", "misconfigured", script="redirect"),
]


def repeated(name: str, script: str, outcome: str, **more: object) -> Case:
    """The first attempt left open whether it landed, or did not; the second one is answered."""
    return Case(name, outcome, script=script, attempts=2, **more)  # type: ignore[arg-type]


CONFLICTS = [
    repeated(
        "reset, and it had landed", "reset_after", "confirmed_by_conflict", first_outcome="no_reply", details=DISPOSED
    ),
    repeated("reset, and it had not", "reset_before", "saved", first_outcome="no_reply"),
    repeated(
        "timed out, and it had landed", "hang_after", "confirmed_by_conflict", first_outcome="no_reply", slow=True
    ),
    repeated("cut off, and it had landed", "half", "confirmed_by_conflict", first_outcome="no_reply"),
    repeated(
        "a gateway's 500, and it had landed", "500_success", "confirmed_by_conflict", first_outcome="upstream_error"
    ),
    replace(
        ALREADY,
        name="refused by a rate limit, and somebody else's",
        script="429:1",
        attempts=2,
        first_outcome="rate_limited",
    ),
    replace(
        ALREADY, name="CloudAgent's Error, and somebody else's", script="error", attempts=2, first_outcome="retry_later"
    ),
]

SPELT = [
    replace(case, name=f"{case.name}, {script}", script=script, details=None)
    for case in (SAVED, QUEUED, ALREADY, WRONG)
    for script in DECORATIONS
]

# With a token it is the request for one that is told that the key is wrong: the disposition is not sent.
WITHOUT_TOKEN = [
    replace(case, certainty="not_sent", details=f"no token: {WRONG_KEY}") for case in TABLE if case.details == WRONG_KEY
]
WITH_TOKEN = [case for case in TABLE if case.details != WRONG_KEY]

CASES = {
    "v2-json-key": [*TABLE, *ANYWAY, *CONFLICTS, *SPELT],
    "v2-json-token": [*WITHOUT_TOKEN, *WITH_TOKEN, *ANYWAY, *CONFLICTS],
}
CREDENTIAL = {"v2-json-key": "json_key", "v2-json-token": "token"}
EACH = [pytest.param(api, case, id=f"{api}, {case.name}") for api, cases in CASES.items() for case in cases]


@pytest.fixture(scope="module")
def results(settings_of_module: Settings) -> Mapping[str, Mapping[str, Seen]]:
    """What came of each case, by flavour and name."""

    async def run() -> dict[str, dict[str, Seen]]:
        results = {}
        for number, (api, cases) in enumerate(CASES.items()):
            async with Sandbox(api_key="k") as sandbox:
                results[api] = await play(settings_of_module, sandbox, cases, api, first=1000 * number)
                about_calls = [request for request in sandbox.log if request.ucid]
                assert {(request.method, request.path) for request in about_calls} == {
                    ("POST", "/ca_apis/dispositionAPIV2")
                }
                assert {request.credential for request in about_calls} == {CREDENTIAL[api]}
        return results

    return asyncio.run(run())


@pytest.mark.parametrize(("api", "case"), EACH)
def test_each_reply_comes_to_its_state(results: Mapping[str, Mapping[str, Seen]], api: str, case: Case) -> None:
    check_state(case, results[api][case.name])


@pytest.mark.parametrize(("api", "case"), EACH)
def test_every_arrival_has_one_attempt_with_its_end(
    results: Mapping[str, Mapping[str, Seen]], api: str, case: Case
) -> None:
    check_attempts(results[api][case.name])


@pytest.mark.parametrize("api", CASES)
def test_a_call_back_time_goes_to_the_minute_and_in_one_format_only(
    results: Mapping[str, Mapping[str, Seen]], api: str
) -> None:
    sent = [results[api][case.name].requests for case in CASES[api] if case.sent == CALLBACK]
    assert [request.parameters["callBackTime"] for requests in sent for request in requests] == ["2026-12-24 10:30"] * 2
