"""The drop-in: CloudAgent's own path, parameters and words."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from app.domain.filters import Filter
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.settings import Settings
from app.wiring import Services
from tests.serving import serving

PATH = "/CAServices/Disposition/DispositionAPIV3.php"
KEY = "canary-KEY-0123456789"
GOOD = {
    "apiKey": KEY,
    "customer": "acme",
    "did": "918012345678",
    "agentID": "a17",
    "disposition": "Sale",
    "ucid": "1234567890123456",
    "action": "Set",
}
STORED = {"status": "Success", "details": "queued successfully"}
BAD_TIME = "callBackTime should be in yyyy-mm-dd HH:mm:ss Format with valid Date"


@pytest.fixture
async def client(services: Services, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    await services.accounts.set("acme", AccountSettings(api_key=Secret(KEY)), actor="test")
    async with serving(settings) as url, httpx.AsyncClient(base_url=url, timeout=20) as client:
        yield client


async def stored(services: Services) -> list[dict[str, Any]]:
    return [one async for one in services.reports.export(Filter())]


@pytest.mark.parametrize("way", ["query", "form", "both"])
async def test_a_crm_changes_the_domain_name_only(client: httpx.AsyncClient, services: Services, way: str) -> None:
    extras = {"callBackTime": "2026-12-24 10:30:00", "pauseAfterDispose": "true", "comments": "über", "channel": "x"}
    match way:
        case "query":
            answer = await client.get(PATH, params=GOOD | extras)
        case "form":
            answer = await client.post(PATH, data=GOOD | extras)
        case _:
            answer = await client.post(PATH, params=GOOD | {"did": "1"}, data={"did": GOOD["did"], **extras})
    assert (answer.status_code, answer.json()) == (200, STORED)
    (one,) = await stored(services)
    assert (one["ucid"], one["did"], one["agent_id"]) == (GOOD["ucid"], GOOD["did"], GOOD["agentID"])
    assert (one["callback_time"], one["callback_time_zone"]) == ("2026-12-24 10:30:00", "Asia/Kolkata")
    assert (one["pause_after_dispose"], one["comments"]) == (True, "über")
    assert one["events"][0]["actor"] == "drop-in:acme"


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        ({"apiKey": "wrong"}, "Authentication fails"),
        ({"customer": "nobody"}, "Authentication fails"),
        ({"apiKey": None}, "Authentication fails"),
        ({"action": "get"}, "Invalid action->get"),
        ({"action": None}, "Invalid action->"),
        ({"disposition": " "}, "Empty disposition code"),
        ({"ucid": "12x"}, "Invalid ucid [12x] or did [918012345678"),
        ({"ucid": "1" * 20}, f"Invalid ucid [{'1' * 20}] or did [918012345678"),
        ({"did": "abc"}, "Invalid ucid [1234567890123456] or did [abc"),
        ({"did": None}, "Invalid ucid [1234567890123456] or did ["),
        ({"agentID": ""}, "Invalid agent"),
        ({"callBackTime": "2026-02-30 10:00:00"}, BAD_TIME),
        ({"callBackTime": "2026-02-20 10:00:00", "callBackTimeZone": "Mars/Base"}, BAD_TIME),
        # several faults: CloudAgent's order decides
        ({"agentID": "", "disposition": "", "ucid": "x"}, "Empty disposition code"),
        ({"agentID": "", "ucid": "x", "callBackTime": "x"}, "Invalid ucid [x] or did [918012345678"),
        ({"action": "del", "apiKey": "wrong"}, "Authentication fails"),
    ],
)
async def test_a_fault_is_answered_with_its_row_and_stores_nothing(
    client: httpx.AsyncClient, services: Services, changes: dict[str, str | None], details: str
) -> None:
    sent = {name: value for name, value in (GOOD | changes).items() if value is not None}
    answer = await client.get(PATH, params=sent)
    assert (answer.status_code, answer.json()) == (200, {"status": "Fail", "details": details})
    assert await stored(services) == []


async def test_what_has_no_row_is_said_in_plain_words(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH, params=GOOD | {"comments": "x" * 5000})
    assert answer.json()["status"] == "Fail"
    assert "comments" in answer.json()["details"]


async def test_a_query_that_is_not_utf8_is_refused(client: httpx.AsyncClient, services: Services) -> None:
    query = "&".join(f"{name}={value}" for name, value in GOOD.items())
    for bad in ("%ff", "%c0%af", "%ed%a0%80"):
        answer = await client.get(f"{PATH}?{query}&comments={bad}")
        assert answer.json()["status"] == "Fail"
    assert await stored(services) == []


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
async def test_who_sends_json_is_told_to_send_a_form(client: httpx.AsyncClient, services: Services, kind: str) -> None:
    answer = await client.post(PATH, content=json.dumps(GOOD), headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["status"]) == (200, "Fail")
    assert answer.json()["details"].endswith("Send application/x-www-form-urlencoded.")
    assert await stored(services) == []


async def test_a_form_without_an_end_is_cut_off(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 50_000_000:
            yield b"x" * 65536
            sent += 65536

    with suppress(httpx.TransportError):  # what is cut off may not see the answer
        assert (await client.post(PATH, content=endless())).json()["status"] == "Fail"
    assert sent < 20_000_000  # what fits into the buffers of two sockets, and then some


async def test_wrong_keys_for_an_account_from_one_address_are_slowed_down(client: httpx.AsyncClient) -> None:
    wrong = GOOD | {"apiKey": "wrong"}
    answers = [(await client.get(PATH, params=wrong)).json()["details"] for _ in range(22)]
    assert answers == ["Authentication fails"] * 20 + ["Max limit exceeded"] * 2
    assert (await client.get(PATH, params=GOOD)).json()["details"] == "Max limit exceeded"


async def test_who_guesses_for_many_accounts_is_slowed_down_and_who_has_the_key_goes_on(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.get(PATH, params=GOOD)).json()["status"] == "Success"
    guesses = [GOOD | {"customer": f"customer-{number}", "apiKey": "guess"} for number in range(201)]
    answers = [(await client.get(PATH, params=guess)).json()["details"] for guess in guesses]
    assert answers == ["Authentication fails"] * 200 + ["Max limit exceeded"]
    assert (await client.get(PATH, params=GOOD)).json()["status"] == "Success"


async def test_the_key_is_in_no_log(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the client of this test, which is not ours
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    await client.get(PATH, params=GOOD)
    await client.post(PATH, data=GOOD | {"ucid": "x"})
    assert KEY not in caplog.text
