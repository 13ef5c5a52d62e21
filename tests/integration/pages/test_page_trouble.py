"""What the pages say of accounts in doubt, and of calls of which nobody knows what CloudAgent got last."""

from __future__ import annotations

import re

from deliveries import UCID, fields, ucid
from visitors import Pages, fail, text_of

from app.services.keys import OPERATOR
from app.services.users import Role


async def test_an_account_in_doubt_says_so_and_why(pages: Pages) -> None:
    visitor = await pages.user(Role.VIEWER)
    assert "Deliveries go on." in text_of(await visitor.get("/accounts/acme"))
    pages.sql("UPDATE lanes SET learned_rate = 2.5, learned_at = clock_timestamp()")
    assert "at 2.5 a second" in text_of(await visitor.get("/accounts/acme"))
    for doubt, sign, why in (
        ("breaker", "no answer", "CloudAgent does not answer, or not properly"),
        ("credentials", "one call first", "It is not sure that CloudAgent takes the apiKey"),
        ("token", "one call first", "CloudAgent gives no token for now"),
    ):
        pages.sql("UPDATE lanes SET doubt = %s, probe_at = clock_timestamp()", doubt)
        for path in ("/accounts/acme", "/accounts", "/"):
            page = text_of(await visitor.get(path))
            assert f"{sign} {why}" in page, path
    assert "on hold" in text_of(await visitor.get("/accounts/globex"))  # which is what matters there


async def test_the_overview_says_who_gets_no_answer_and_whose_that_is(pages: Pages) -> None:
    visitor = await pages.user(Role.VIEWER)
    receipt = await pages.services.intake.accept(fields(account="acme"), OPERATOR)
    assert "does not answer" not in text_of(await visitor.get("/"))
    pages.sql("UPDATE lanes SET doubt = 'breaker', probe_at = clock_timestamp()")
    page = text_of(await visitor.get("/"))
    assert "CloudAgent does not answer for acme: 1 waiting" in page
    assert "For CloudAgent, or whoever looks after the network to it" in page
    assert "It waits for its account : no answer" in text_of(await visitor.get(f"/dispositions/{receipt.id}"))


async def test_a_hold_s_reason_is_told_to_who_works_with_it(pages: Pages) -> None:
    await pages.services.accounts.hold("acme", actor="user:asha", reason="customer 919812345678 rang")
    assert "Why: customer 919812345678 rang" in text_of(await (await pages.user(Role.OPERATOR)).get("/accounts/acme"))
    assert "919812345678" not in (await (await pages.user(Role.VIEWER)).get("/accounts/acme")).text


async def test_the_page_of_a_call_says_that_an_older_one_may_have_come_last(pages: Pages) -> None:
    visitor = await pages.user(Role.VIEWER)
    await pages.services.intake.accept(fields(account="acme"), OPERATOR)
    warning = "may have reached CloudAgent after it"
    assert warning not in text_of(await visitor.get(f"/calls/acme/{UCID}"))
    pages.sql("UPDATE calls SET after_unknown_at = clock_timestamp()")
    assert warning in text_of(await visitor.get(f"/calls/acme/{UCID}"))


async def test_who_may_not_mend_is_not_told_to(pages: Pages) -> None:
    await fail(pages, ucid(1))
    viewer, operator = await pages.user(Role.VIEWER), await pages.user(Role.OPERATOR)
    for path in ("/", "/failures"):
        assert ">Mend" in (await operator.get(path)).text, path
        assert ">Mend" not in (await viewer.get(path)).text, path


async def test_what_was_given_up_says_after_what_in_words(pages: Pages) -> None:
    one = await fail(pages, ucid(1), cause="expired")
    pages.sql("UPDATE dispositions SET state = 'queued', outcome = 'no_reply', attempt_count = 1 WHERE id = %s", one)
    pages.sql("UPDATE dispositions SET state = 'failed' WHERE id = %s", one)
    said = text_of(await (await pages.user(Role.VIEWER)).get("/failures"))
    assert "Too old: it waited too long: No answer in time" in said


async def test_a_schedule_says_since_when_in_words(pages: Pages) -> None:
    replay = {"filter": {"state": "failed", "from": "7d", "to": "2099-11-01T00:00:00Z"}}
    await pages.services.schedules.create({"name": "nightly", "every": "1h", "replay": replay}, OPERATOR)
    said = text_of(await (await pages.user(Role.VIEWER)).get("/schedules/nightly"))
    assert "Since 7d before" in said
    assert re.search(r"Before 01 Nov 2099, 05:30", said)


async def test_the_audit_trail_says_causes_in_plain_words(pages: Pages) -> None:
    one = await fail(pages, ucid(1))
    pages.sql(
        "INSERT INTO events (actor, action, disposition_id, reason) VALUES ('worker:w', 'failed', %s, 'no_reply')", one
    )
    said = text_of(await (await pages.user(Role.OPERATOR)).get(f"/audit?disposition={one}"))
    assert "No answer in time" in said
    assert "no_reply" not in said
