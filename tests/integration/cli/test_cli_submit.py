"""``wrapup submit``: taken in like any other, and waited for."""

from __future__ import annotations

from uuid import UUID

from app.domain.filters import Filter
from app.services.keys import OPERATOR

SALE = (
    *("submit", "--account", "acme", "--ucid", "1234567890123456", "--did", "918012345678"),
    *("--agent-id", "a17", "--disposition", "Sale"),
)


async def test_it_prints_what_the_api_would_answer(wrapup, services, account):
    ran = await wrapup(*SALE, "--reference", "deal-7", "--comments", "दो पंक्तियाँ", "--json")
    assert ran.status == 0
    receipt = ran.json
    assert {name: receipt[name] for name in ("state", "account", "ucid", "duplicate")} == {
        "state": "queued",
        "account": "acme",
        "ucid": "1234567890123456",
        "duplicate": False,
    }
    page = await services.reports.page(Filter(), after=None, limit=10)
    assert [str(one["id"]) for one in page.items] == [receipt["id"]]
    assert (page.items[0]["reference"], page.items[0]["comments"]) == ("deal-7", "दो पंक्तियाँ")


async def test_the_same_idempotency_key_is_the_same_disposition(wrapup, account):
    first = await wrapup(*SALE, "--idempotency-key", "k1")
    again = await wrapup(*SALE, "--idempotency-key", "k1")
    identity = first.out.split()[0]
    assert first.out == f"{identity} queued\n"
    assert again.out == f"{identity} queued duplicate\n"


async def test_every_wrong_field_is_named_at_once(wrapup):
    ran = await wrapup("submit", "--account", "nobody", "--ucid", "1e15", "--callback-time", "tomorrow")
    assert (ran.status, ran.out) == (2, "")
    for said in ("nobody", "ucid", "did is missing", "agent_id is missing", "disposition is missing", "tomorrow"):
        assert said in ran.err


async def test_waiting_ends_with_0_when_it_is_delivered(wrapup, account, worker):
    ran = await wrapup(*SALE, "--wait")
    assert (ran.status, ran.err) == (0, "")
    identity = ran.out.split()[0]
    assert ran.out == f"{identity} queued\n{identity} delivered\n"
    whole = await wrapup(*SALE, "--disposition", "Other", "--wait", "--json")
    assert whole.status == 0
    assert whole.json["state"] == "delivered"
    assert whole.json["attempts"][0]["reply_details"] == "Disposition saved successfully"


async def test_waiting_ends_with_1_and_cloudagents_words_when_it_failed(wrapup, account, worker):
    ran = await wrapup(*SALE, "--agent-id", "unknown", "--wait")
    assert ran.status == 1
    assert ran.out.endswith(" failed\n")
    assert ran.err.startswith("wrapup: failed, invalid_agent (Fail: ")
    assert ran.err.count("\n") == 1


async def test_waiting_has_an_end(wrapup, services, account):
    ran = await wrapup(*SALE, "--wait", "--timeout", "300ms")
    assert ran.status == 1
    assert ran.err.startswith("wrapup: it is still queued. `wrapup show ")
    identity = ran.out.split()[0]
    assert (await services.reports.disposition(UUID(identity), OPERATOR))["state"] == "queued"
