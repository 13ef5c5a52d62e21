"""What is at an address that nothing is at: for people a page with a way back, for programs what they are used to."""

from __future__ import annotations

import pytest
from test_page_safety import EVIL, check_headers, check_markup
from visitors import Pages, text_of

from app.services.users import Role

A_BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/nothing/here", "/dispositions/4711", "/sign-out"])
async def test_a_person_gets_a_page_with_the_bar_and_a_way_back(pages: Pages, path: str) -> None:
    answer = await (await pages.user(Role.VIEWER)).get(path, **A_BROWSER)
    assert answer.status_code == 404
    check_headers(answer)
    check_markup(answer.text)
    assert f"Nothing is at {path}." in text_of(answer)
    assert '<a class="button" href="/">To the overview</a>' in answer.text
    assert 'action="/sign-out"' in answer.text


async def test_what_stands_in_the_address_is_shown_as_text(pages: Pages) -> None:
    answer = await (await pages.user(Role.VIEWER)).get(f"/{EVIL}", **A_BROWSER)
    check_markup(answer.text)
    assert "Nothing is at /<script>alert" in text_of(answer)


async def test_who_is_not_signed_in_gets_it_too_without_the_bar(pages: Pages) -> None:
    answer = await pages.nobody().get("/nothing/here", **A_BROWSER)
    assert answer.status_code == 404
    assert "There is no such page" in text_of(answer)
    assert "Sign out" not in answer.text


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/nothing/here", "*/*", 404),
        ("/nothing/here", "application/json", 404),
        ("/v1/nothing", A_BROWSER["accept"], 404),
        ("/v1/dispositions/batch", A_BROWSER["accept"], 405),
        ("/sign-out", "*/*", 405),
    ],
)
async def test_a_program_gets_a_problem_document(pages: Pages, path: str, accept: str, status: int) -> None:
    answer = await (await pages.user(Role.VIEWER)).get(path, accept=accept)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
