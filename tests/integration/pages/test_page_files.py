"""Lists as files, from the pages: all that the filter takes, and for viewers no more than the pages show."""

from __future__ import annotations

import csv
import io
import json
import re

import httpx
from deliveries import ucid
from visitors import Pages, fail

from app.services.users import Role
from app.storage.failures import Wanted
from app.web.dispositions import COLUMNS

DID = "919812345678"
NOTE = "her mother is ill"


def table(answer: httpx.Response) -> list[dict[str, str]]:
    """The rows of a file by the names in its first line."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


async def test_the_list_links_to_a_file_of_all_that_its_filter_takes(pages: Pages) -> None:
    taken = {await fail(pages, ucid(number), agent_id="x7") for number in range(60)}  # more than a page
    await fail(pages, ucid(70), agent_id="asha")
    visitor = await pages.user(Role.OPERATOR)
    page = await visitor.get("/dispositions?state=failed&agent_id=x7")
    [link] = re.findall(r'href="(/dispositions\.csv[^"]*)"', page.text)
    answer = await visitor.get(link.replace("&amp;", "&"))
    rows = table(answer)
    assert {row["id"] for row in rows} == taken
    assert len(rows) == 60
    assert tuple(rows[0]) == COLUMNS
    assert re.fullmatch(r'attachment; filename="dispositions-[0-9-]{10}\.csv"', answer.headers["content-disposition"])
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_page_of_a_failure_links_to_a_file_of_its_dispositions_as_json_lines(pages: Pages) -> None:
    one = await fail(pages, ucid(1), agent_id="x7")
    await fail(pages, ucid(2), cause="invalid_call")
    found = (await pages.services.failures.all(Wanted(), limit=2)).failures
    [failure] = [each for each in found if each["cause"] == "invalid_agent"]
    visitor = await pages.user(Role.VIEWER)
    page = await visitor.get(f"/failures/{failure['id']}")
    [link] = re.findall(r'href="(/dispositions\.jsonl[^"]*)"', page.text)
    lines = [json.loads(line) for line in (await visitor.get(link)).text.splitlines()]
    assert [line["id"] for line in lines] == [one]


async def test_a_viewers_file_is_masked_as_the_pages_are(pages: Pages) -> None:
    await fail(pages, ucid(1), did=DID, comments=NOTE)
    await pages.services.accounts.hold("acme", actor="user:asha", reason=f"customer {DID} rang")
    viewer, operator = await pages.user(Role.VIEWER), await pages.user(Role.OPERATOR)
    for path in ("/dispositions.csv", "/dispositions.jsonl", "/audit.csv?subject=account%3Aacme", "/audit.jsonl"):
        seen = (await viewer.get(path)).text
        assert "acme" in seen, path
        assert DID not in seen, path
        assert NOTE not in seen, path
        assert DID in (await operator.get(path)).text, path


async def test_the_file_of_the_audit_trail_has_the_lines_of_its_filter(pages: Pages) -> None:
    visitor = await pages.user(Role.OPERATOR, "asha")
    await visitor.send("/accounts/acme/hold", reason="maintenance")
    page = await visitor.get("/audit?action=account+held&account=acme")
    [link] = re.findall(r'href="(/audit\.csv[^"]*)"', page.text)
    [line] = table(await visitor.get(link.replace("&amp;", "&")))
    assert (line["actor"], line["subject"], line["reason"]) == ("user:asha", "account:acme", "maintenance")


async def test_a_filter_that_is_wrong_gives_no_file_and_says_what_is_wrong(pages: Pages) -> None:
    visitor = await pages.user(Role.OPERATOR)
    for path, said in (
        ("/dispositions.csv?state=faild", "did you mean failed"),
        ("/dispositions.csv?to=2026-13-45T99:99", "2026-13-45"),
        ("/audit.csv?disposition=7", "UUID"),
    ):
        wrong = await visitor.get(path)
        assert (wrong.status_code, wrong.headers["content-type"]) == (422, "text/html; charset=utf-8"), path
        assert said in wrong.text
    assert (await visitor.get("/dispositions.xlsx")).status_code == 404
