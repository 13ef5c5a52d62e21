"""What the pages tell a browser, and that no text from elsewhere becomes a part of one."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from deliveries import ask, deliver, fields
from visitors import Pages, text_of

from app.sandbox import Sandbox
from app.services.keys import OPERATOR
from app.services.users import Role
from app.settings import Settings
from app.web import dashboard

EVIL = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"


def check_headers(answer: httpx.Response) -> None:
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"


class Markup(HTMLParser):
    """The tags of a page with their attributes, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def check_markup(text: str) -> None:
    """Nothing inline, which the policy would refuse anyway, and nothing of the evil text."""
    found = Markup(text).tags
    assert {tag for tag, _ in found}.isdisjoint({"style", "img", "iframe", "object"})
    for tag, attributes in found:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], (tag, attributes)
        assert tag != "script" or str(attributes["src"]).startswith("/static/wrapup.js?")
        assert not str(attributes.get("href", "")).lower().startswith("javascript:")


@pytest.mark.parametrize(
    "path", ["/", "/sign-in", "/dispositions", "/accounts", "/accounts/nobody", "/users", "/me", "/schedules"]
)
async def test_every_page_says_what_the_browser_may_do_with_it(pages: Pages, path: str) -> None:
    for visitor in (await pages.user(Role.ADMIN), pages.nobody()):
        answer = await visitor.get(path)
        check_headers(answer)
        check_markup(answer.text)


async def test_texts_from_a_crm_and_from_cloudagent_are_shown_as_text(
    pages: Pages, settings: Settings, cloudagent: Sandbox
) -> None:
    wanted = fields(account="acme", agent_id=EVIL[:90], disposition=EVIL, comments=EVIL, reference=EVIL)
    receipt = await pages.services.intake.accept(wanted, OPERATOR)
    [one] = await deliver(pages.services, settings, [receipt.id])
    await ask(pages.services, "UPDATE attempts SET reply_details = :evil", evil=EVIL)
    replay = {"filter": {"q": EVIL}, "reason": EVIL}
    await pages.services.schedules.create({"name": "nightly", "every": "1h", "replay": replay}, OPERATOR)
    visitor = await pages.user(Role.ADMIN)
    paths = ("/", "/dispositions", f"/dispositions/{one['id']}", f"/calls/acme/{one['ucid']}", "/accounts/globex")
    for path in (*paths, "/schedules", "/schedules/nightly", "/audit"):
        answer = await visitor.get(path)
        assert answer.status_code == 200
        check_markup(answer.text)
    whole = await visitor.get(f"/dispositions/{one['id']}")
    assert whole.text.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") >= 4
    assert "<b>maintenance</b>" in text_of(await visitor.get("/accounts/globex"))  # the reason of the hold


async def test_what_stands_in_an_address_is_shown_as_text(pages: Pages) -> None:
    visitor = await pages.user(Role.ADMIN)
    for path in ("/dispositions", "/accounts/" + "x", "/sign-in", "/schedules"):
        answer = await visitor._http.get(
            path,
            params={"state": EVIL, "agent_id": EVIL, "said": EVIL, "filter": EVIL},
            headers={"cookie": f"__Host-wrapup={visitor.token}"},
        )
        check_headers(answer)
        check_markup(answer.text)
        assert EVIL not in answer.text


async def test_files_are_kept_by_browsers_and_there_are_no_others(pages: Pages) -> None:
    page = await pages.nobody().get("/sign-in")
    [style] = re.findall(r'href="(/static/wrapup\.css\?[0-9a-f]{12})"', page.text)
    answer = await pages.nobody().get(style)
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    for path in ("/static/nothing.css", "/static/..%2fstatic.py", "/static/%2e%2e/static.py"):
        assert (await pages.nobody().get(path)).status_code == 404


def test_style_and_script_are_small() -> None:
    folder = Path(dashboard.__file__).parent / "static"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 40_000  # with the icons
