"""What the pages say of accounts in doubt, and of calls of which nobody knows what CloudAgent got last."""

from __future__ import annotations

from deliveries import UCID, fields
from visitors import Pages, text_of

from app.services.keys import OPERATOR
from app.services.users import Role


async def test_an_account_in_doubt_says_so_and_why(pages: Pages) -> None:
    visitor = await pages.user(Role.VIEWER)
    assert "Deliveries go on." in text_of(await visitor.get("/accounts/acme"))
    pages.sql("UPDATE lanes SET learned_rate = 2.5, learned_at = clock_timestamp()")
    assert "at 2.5 a second" in text_of(await visitor.get("/accounts/acme"))
    for doubt, why in (("breaker", "did not answer lately"), ("credentials", "takes the apiKey")):
        pages.sql("UPDATE lanes SET doubt = %s, probe_at = clock_timestamp()", doubt)
        page = text_of(await visitor.get("/accounts/acme"))
        assert "in doubt" in page
        assert why in page
    assert "on hold" in text_of(await visitor.get("/accounts/globex"))  # which is what matters there


async def test_the_page_of_a_call_says_that_an_older_one_may_have_come_last(pages: Pages) -> None:
    visitor = await pages.user(Role.VIEWER)
    await pages.services.intake.accept(fields(account="acme"), OPERATOR)
    warning = "may have reached CloudAgent after it"
    assert warning not in text_of(await visitor.get(f"/calls/acme/{UCID}"))
    pages.sql("UPDATE calls SET after_unknown_at = clock_timestamp()")
    assert warning in text_of(await visitor.get(f"/calls/acme/{UCID}"))
