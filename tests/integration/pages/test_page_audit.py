"""The page of the audit trail: who did what to which thing, when, from where, and why."""

from __future__ import annotations

from visitors import Pages, text_of

from app.services.users import Role


async def test_what_somebody_does_on_a_page_stands_there_with_who_from_where_and_why(pages: Pages) -> None:
    asha = await pages.user(Role.OPERATOR, "asha")
    await asha.send("/accounts/acme/hold", reason="CloudAgent's maintenance")
    answer = await asha.get("/audit?subject=account%3Aacme&action=account+held")
    said = text_of(answer)
    assert "asha account held account acme" in said
    assert "CloudAgent's maintenance 127.0.0.1" in said
    assert 'href="/accounts/acme"' in answer.text


async def test_what_people_did_can_be_had_without_what_programs_do(pages: Pages) -> None:
    await pages.services.accounts.hold("acme", actor="client:ops", reason="by a program")
    asha = await pages.user(Role.OPERATOR, "asha")
    await asha.send("/accounts/acme/release", reason="by a person")
    answer = await asha.get("/audit?people=true")
    assert "by a person" in answer.text
    assert "by a program" not in answer.text
    assert 'name="people" value="true" checked' in answer.text
    assert "by a program" in (await asha.get("/audit")).text
    file = (await asha.get("/audit.csv?people=true")).text
    assert ("by a person" in file, "by a program" in file) == (True, False)
    wrong = await asha.get("/audit?people=yes")
    assert (wrong.status_code, "people is &#39;yes&#39;; it must be true or false" in wrong.text) == (422, True)


async def test_a_filter_that_is_wrong_is_told_and_what_was_left_empty_is_left_out(pages: Pages) -> None:
    visitor = await pages.user(Role.ADMIN)
    wrong = await visitor.get("/audit?disposition=7")
    assert wrong.status_code == 422
    assert "disposition is &#39;7&#39;" in wrong.text
    assert (await visitor.get("/audit?actor=&action=signed+in")).headers["location"] == "/audit?action=signed+in"


async def test_why_is_not_for_viewers(pages: Pages) -> None:
    await pages.services.accounts.hold("acme", actor="user:asha", reason="customer 919812345678 rang")
    assert "919812345678" in (await (await pages.user(Role.OPERATOR)).get("/audit")).text
    assert "919812345678" not in (await (await pages.user(Role.VIEWER)).get("/audit")).text
