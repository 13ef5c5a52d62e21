"""Signing in on the pages: by form, by link, by a trusted proxy; where it leads; and what ends it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from visitors import Pages, Visitor, text_of

from app.secrets import Secret
from app.services.users import Role, link_path

PASSWORD = "four words in a row"
BY_A_PERSON = {"sec_fetch_dest": "document", "sec_fetch_site": "none"}


@pytest.fixture
async def asha(pages: Pages) -> str:
    await pages.services.users.create("asha", Role.OPERATOR, password=Secret(PASSWORD))
    return "asha"


async def signs_in(visitor: Visitor, **fields: str) -> str:
    """Where the form leads."""
    answer = await visitor.post("/sign-in", {"name": "asha", "password": PASSWORD, **fields})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def test_the_form_signs_in_and_leads_back_to_where_a_look_was_wanted(pages: Pages, asha: str) -> None:
    visitor = pages.nobody()
    sent_away = await visitor.get("/dispositions?state=failed&account=a%26b")
    form = await visitor.get(sent_away.headers["location"])
    assert 'name="next" value="/dispositions?state=failed&amp;account=a%26b"' in form.text
    back = await signs_in(visitor, next="/dispositions?state=failed&account=a%26b")
    assert back == "/dispositions?state=failed&account=a%26b"
    assert (await visitor.get(back)).status_code == 200


async def test_the_cookie_is_for_this_host_alone_and_no_script_sees_it(pages: Pages, asha: str) -> None:
    answer = await pages.nobody().post("/sign-in", {"name": asha, "password": PASSWORD})
    name, _, rest = answer.headers["set-cookie"].partition("=")
    attributes = {part.strip().lower() for part in rest.split(";")[1:]}
    assert name.startswith("__Host-")
    assert attributes >= {"secure", "httponly", "samesite=lax", "path=/", "max-age=43200"}
    assert not any(part.startswith("domain") for part in attributes)


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "",
        "/sign-in?next=/",
        "/" + "a" * 3000,
    ],
)
async def test_signing_in_leads_to_no_other_site(pages: Pages, asha: str, wanted: str) -> None:
    visitor = pages.nobody()
    form = await visitor._http.get("/sign-in", params={"next": wanted})
    assert 'name="next" value="/"' in form.text
    assert await signs_in(visitor, next=wanted) == "/"
    again = await visitor._http.get(
        "/sign-in", params={"next": wanted}, headers={"cookie": f"__Host-wrapup={visitor.token}"}
    )
    assert again.headers["location"] == "/"


async def test_a_wrong_password_says_so_keeps_the_name_and_is_slowed_down(pages: Pages, asha: str) -> None:
    visitor = pages.nobody()
    for _ in range(5):
        answer = await visitor.post("/sign-in", {"name": "asha", "password": "<wrong>"})
        assert answer.status_code == 401
        assert 'value="asha"' in answer.text
        assert "<wrong>" not in answer.text
        assert "Name and password do not match" in answer.text
    answer = await visitor.post("/sign-in", {"name": "asha", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 60
    assert visitor.token is None


async def test_a_link_that_a_person_opens_signs_in_once(pages: Pages, asha: str) -> None:
    link = link_path(await pages.services.users.link(asha))
    visitor = pages.nobody()
    assert (await visitor.get(link, **BY_A_PERSON)).headers["location"] == "/"
    assert (await visitor.get("/")).status_code == 200
    again = await pages.nobody().get(link, **BY_A_PERSON)
    assert again.status_code == 401
    assert "used already" in text_of(again)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_dest": "document", "sec_fetch_site": "cross-site"},
        {"sec_fetch_dest": "empty", "sec_fetch_site": "none"},
        {**BY_A_PERSON, "sec_purpose": "prefetch"},
    ],
)
async def test_what_only_looks_at_a_link_does_not_use_it_up(pages: Pages, asha: str, headers: dict[str, str]) -> None:
    token = await pages.services.users.link(asha)
    visitor = pages.nobody()
    answer = await visitor.get(link_path(token), **headers)
    assert (answer.status_code, visitor.token) == (200, None)
    assert (await visitor.post("/sign-in/link", {"token": token})).status_code == 303
    assert visitor.token is not None


async def test_signing_out_ends_the_session_here_and_not_only_in_the_browser(pages: Pages) -> None:
    visitor = await pages.user(Role.VIEWER)
    token = visitor.token
    answer = await visitor.send("/sign-out")
    assert answer.headers["location"] == "/sign-in"
    assert visitor.token is None
    assert (await Visitor(visitor._http, token).get("/")).status_code == 303


async def test_ones_own_password_is_changed_with_the_old_one_and_ends_the_other_sessions(
    pages: Pages, asha: str
) -> None:
    visitor, elsewhere = await pages.user(Role.OPERATOR, asha), await pages.user(Role.OPERATOR, asha)
    new = {"new": "another row of words", "again": "another row of words"}
    for fields, said in (
        ({**new, "old": "wrong"}, "old password is not right"),
        ({**new, "old": PASSWORD, "again": "a different one"}, "passwords differ"),
        ({"old": PASSWORD, "new": "short", "again": "short"}, "has 5 characters"),
    ):
        answer = await visitor.send("/me/password", **fields)
        assert answer.status_code == 422
        assert said in text_of(answer)
    done = await visitor.send("/me/password", old=PASSWORD, **new)
    assert (await visitor.get(done.headers["location"])).status_code == 200
    assert (await elsewhere.get("/")).status_code == 303


class TestBehindAProxyThatSignsIn:
    """The proxy is 127.0.0.1 here, as the test's client is."""

    @pytest.fixture
    async def proxied(self, pages: Pages, asha: str) -> Pages:
        await pages.serve(sign_in_header="X-Forwarded-User", trusted_proxies=[ip_network("127.0.0.0/8")])
        return pages

    async def test_its_word_is_enough(self, proxied: Pages) -> None:
        visitor = proxied.nobody()
        answer = await visitor.get("/sign-in?next=/accounts", x_forwarded_user="Asha")
        assert answer.headers["location"] == "/accounts"
        assert (await visitor.get("/accounts", x_forwarded_user="asha")).status_code == 200
        assert (await visitor.get("/accounts", x_forwarded_user="ravi")).status_code == 303  # somebody else sits there

    async def test_whom_it_knows_and_we_do_not_is_told_whom_to_ask(self, proxied: Pages) -> None:
        answer = await proxied.nobody().get("/sign-in", x_forwarded_user="stranger")
        assert answer.status_code == 403
        assert "Ask an admin of Wrapup" in text_of(answer)

    async def test_the_address_in_the_audit_trail_is_the_persons(self, proxied: Pages) -> None:
        await proxied.nobody().get("/sign-in", x_forwarded_user="asha", x_forwarded_for="6.6.6.6, 10.9.8.7")
        [(reason, address)] = proxied.sql("SELECT reason, address FROM events WHERE action = 'signed in'")
        assert (reason, address) == ("by proxy", "10.9.8.7")  # what the proxy saw, not what the person wrote before it


async def test_nobody_elses_header_counts(pages: Pages, asha: str) -> None:
    await pages.serve(sign_in_header="X-Forwarded-User", trusted_proxies=[ip_network("10.0.0.0/8")])
    answer = await pages.nobody().get("/sign-in", x_forwarded_user="asha", x_forwarded_for="10.0.0.1")
    assert answer.status_code == 200
    assert 'type="password"' in answer.text
