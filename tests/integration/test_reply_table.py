"""Every row of the reply table, and every case that it does not have, through the whole stack: intake, pump, stand-in.

The names of the cases are those of the vendor's page and of "not in the table, and met anyway". All cases are sent at
once, each for an account and a call of its own; then each test looks at one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from deliveries import UCID, ms, post, pumping, show, until
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
    knows_call,
    play,
    unsure,
    waits,
)

from app.domain.errors import InvalidInput
from app.sandbox import DECORATIONS, Sandbox
from app.services.keys import OPERATOR
from app.settings import Settings
from app.wiring import Services

WRONG_CALL = "Invalid ucid [{ucid}] or did [918012345678"
SAVED = Case("Success", "saved", details="Disposition saved successfully")
INVALID_DID = failed("Invalid DID", "invalid_call", arrange=knows_call("911111111111"), details=WRONG_CALL)
INVALID_AGENT = failed("Invalid agent", "invalid_agent", sent={"agent_id": "unknown7"}, details="Invalid agent")

TABLE = [
    SAVED,
    Case("Queued", "queued_upstream", arrange=call_is_going_on, details="queued successfully"),
    Case(
        "Missing call-back time updated",
        "updated",
        arrange=call_holds(),
        sent=CALLBACK,
        details="Disposition Updated successfully",
    ),
    Case(
        "Missing call-back zone updated",
        "updated",
        arrange=call_holds(callback_time="2026-12-24 10:00:00"),
        sent=CALLBACK,
        details="Disposition Updated Successfully",
    ),
    held("Invalid api key", "authentication_failed", arrange=knows(api_key="another"), details="Authentication fails"),
    held(
        "Invalid user name",
        "authentication_failed",
        arrange=lambda sandbox, customer, ucid: sandbox.gate.accounts.pop(customer),
        details="Authentication fails",
    ),
    failed("Invalid UCID", "invalid_call", arrange=knows(calls={}), details=WRONG_CALL),
    INVALID_DID,
    waits(
        'Any other Error / "retry after some time"',
        "retry_later",
        "error",
        details="Unable to Dispose . Please retry after some time.",
    ),
    failed("Invalid action", "invalid_action", script="invalid_action"),
    failed("Empty disposition", "empty_disposition", script="empty_disposition"),
    INVALID_AGENT,
    Case(
        "Invalid call-back time, right in the other format",
        "saved",
        arrange=knows(callback_formats=["mdy"]),
        sent=CALLBACK,
        attempts=2,
        first_outcome="invalid_callback_time",
    ),
    failed(
        "Invalid call-back time, in both formats",
        "invalid_callback_time",
        arrange=knows(callback_formats=[]),
        sent=CALLBACK,
        attempts=2,
    ),
]

ANYWAY = [
    waits("HTTP 429", "rate_limited", "429"),
    waits("Max limit exceeded", "rate_limited", "max_limit"),
    waits("HTTP 500", "upstream_error", "500"),
    waits("HTTP 503", "upstream_error", "503"),
    waits("a 500 with a success body", "upstream_error", "500_success"),
    waits("refused connection", "unreachable", base_url=f"http://127.0.0.1:{closed_port()}", certainty="not_sent"),
    waits("DNS failure", "unreachable", base_url="https://cloudagent.invalid", certainty="not_sent"),
    waits("TLS failure", "unreachable", base_url="https://{sandbox}", certainty="not_sent"),
    unsure("read timeout", "no_reply", "hang", slow=True),
    unsure("read timeout after it was applied", "no_reply", "hang_after", slow=True),
    unsure("a reply that drips", "no_reply", "slow_drip:100ms", slow=True),
    unsure("reset after sending", "no_reply", "reset_before"),
    unsure("reset after it was applied", "no_reply", "reset_after"),
    unsure("a reply that breaks off", "no_reply", "half"),
    unsure("a reply that is not HTTP", "no_reply", "not_http"),
    unsure("200 with HTML", "unreadable_reply", "html"),
    unsure("200 with garbage", "unreadable_reply", "garbage"),
    unsure("200 with nothing", "unreadable_reply", "empty", details="the reply was empty"),
    unsure("a body that is too large", "unreadable_reply", "huge", details="the reply was larger than the limit"),
    unsure("a body that unpacks to a large one", "unreadable_reply", "gzip_bomb"),
    unsure("a status that makes no sense", "unreadable_reply", "unknown_status"),
    held("HTTP 401", "authentication_failed", script="401"),
    held("HTTP 403", "authentication_failed", script="403"),
    held("HTTP 404", "misconfigured", script="404"),
    held("a redirect", "misconfigured", script="redirect"),
    failed("an unknown Fail", "refused", script="unknown_fail", details="Campaign is archived"),
    waits("an unknown Error", "retry_later", "unknown_error", details="ORA-12541: no listener"),
]

PASSING = [
    Case(
        f"{case.name}, which passes",
        "saved",
        script=case.script.removesuffix("*"),
        attempts=2,
        first_outcome=case.outcome,
        slow=case.slow,
    )
    for case in [*TABLE, *ANYWAY]
    if case.script.endswith("*")
]

_ALL_AT_ONCE = "+".join(name for name in DECORATIONS if name != "lower_case")
SPELT = [
    replace(case, name=f"{case.name}, {script}", script=script, details=None)
    for case in (SAVED, INVALID_DID, INVALID_AGENT)
    for script in [*DECORATIONS, _ALL_AT_ONCE]
]

CASES = [*TABLE, *ANYWAY, *PASSING, *SPELT]


@pytest.fixture(scope="module")
def results(settings_of_module: Settings) -> Mapping[str, Seen]:
    """What came of each case, by its name."""

    async def run() -> dict[str, Seen]:
        async with Sandbox(api_key="k") as sandbox:
            played = await play(settings_of_module, sandbox, CASES, "v3-query")
            paths = {request.path for request in sandbox.log}
            assert paths == {"/CAServices/Disposition/DispositionAPIV3.php"}, "a redirect was followed"
            return played

    return asyncio.run(run())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_reply_comes_to_its_state(results: Mapping[str, Seen], case: Case) -> None:
    check_state(case, results[case.name])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_arrival_has_one_attempt_with_its_end(results: Mapping[str, Seen], case: Case) -> None:
    check_attempts(results[case.name])


async def test_a_ucid_of_20_characters_never_gets_as_far_as_cloudagent(
    services: Services, sandbox: Sandbox, account: None
) -> None:
    with pytest.raises(InvalidInput, match="retry after some time"):
        await post(services, "1" * 20)
    assert (await services.reports.stats(OPERATOR))["accounts"] == {}
    assert sandbox.log == []


@pytest.mark.parametrize(("script", "seconds"), [("429:40", 40), ("503:86400", 3600), ("429:0", 1)])
async def test_the_next_time_is_visible_and_respects_retry_after(
    services: Services, settings: Settings, sandbox: Sandbox, account: None, script: str, seconds: int
) -> None:
    sandbox.script(UCID, script)
    one = await post(services)

    async def is_retrying() -> bool:
        return (await show(services, one))["state"] == "retrying"

    async with pumping(settings.model_copy(update={"retry_delays": [ms(10)]})):
        await until(is_retrying)
    shown = await show(services, one)
    pause = shown["next_attempt_at"] - shown["attempts"][0]["finished_at"]
    assert pause.total_seconds() == pytest.approx(seconds, abs=0.5)
    assert shown["finished_at"] is None
