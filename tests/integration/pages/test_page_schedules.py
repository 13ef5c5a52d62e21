"""The pages of schedules: made from a form, faults at their fields; run, paused, deleted; what was missed."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
import pytest
from deliveries import ucid
from visitors import Pages, fail, text_of

from app.domain.schedules import READY_MADE
from app.services.keys import OPERATOR
from app.services.users import Role

DID = "919812345678"
PLAN = {"name": "nightly", "cron": "30 2 * * *", "time_zone": "Asia/Kolkata", "filter": "state=failed&from=24h"}


async def made(pages: Pages, name: str = "nightly") -> dict[str, Any]:
    return await pages.services.schedules.get(name, OPERATOR)


def inputs(answer: httpx.Response, action: str = "/schedules") -> dict[str, str]:
    """What the form that makes a schedule holds, or another one, as a browser would send it."""
    [form] = re.findall(rf'(?s)<form method="post" action="{action}".*?</form>', answer.text)
    found = dict(re.findall(r'<input name="(\w+)"[^>]* value="([^"]*)"', form))
    found |= dict(re.findall(r'(?s)<textarea name="(\w+)"[^>]*>(.*?)</textarea>', form))
    found |= dict(re.findall(r'(?s)<select name="(\w+)".*?<option value="(\w+)" selected', form))
    found |= dict(re.findall(r'<input type="checkbox" name="(\w+)" value="(\w+)" checked', form))
    return {name: html.unescape(value) for name, value in found.items()}


def fault(answer: httpx.Response, name: str) -> str:
    """What is told at a field of the form."""
    [said] = re.findall(rf'id="{name}-faults">([^<]*)<', answer.text)
    assert re.search(rf'name="{name}"[^>]*aria-invalid="true" aria-describedby="{name}-faults"', answer.text)
    return html.unescape(said)


async def test_a_form_makes_a_schedule_and_its_page_shows_when_it_comes_next(pages: Pages) -> None:
    visitor = await pages.user(Role.OPERATOR, "asha")
    answer = await visitor.send("/schedules", **PLAN, rate_per_second="2.5", extend_max_age="yes", reason="shaky")
    assert answer.headers["location"] == "/schedules/nightly?said=scheduled"
    one = await made(pages)
    assert (one["cron"], one["time_zone"], one["actor"]) == ("30 2 * * *", "Asia/Kolkata", "user:asha")
    expected = {"filter": {"state": ["failed"], "from": ["24h"]}, "rate_per_second": 2.5, "extend_max_age": True}
    assert expected.items() <= one["replay"].items()
    page = await visitor.get("/schedules/nightly")
    assert all(f'datetime="{time:%Y-%m-%dT%H:%M}' in page.text for time in one["next_times"])
    assert "every day at 02:30 ( 30 2 * * * ) in Asia/Kolkata" in text_of(page)
    assert "asha schedule created schedule nightly" in text_of(await visitor.get("/audit"))
    assert 'href="/schedules"' in (await visitor.get("/replays")).text


@pytest.mark.parametrize("ready", READY_MADE, ids=lambda ready: ready.name)
async def test_a_ready_made_one_fills_the_form_and_the_form_makes_just_that(pages: Pages, ready: Any) -> None:
    visitor = await pages.user(Role.OPERATOR)
    assert f'href="/schedules?ready_made={ready.name}#new-schedule"' in (await visitor.get("/schedules")).text
    filled = inputs(await visitor.get(f"/schedules?ready_made={ready.name}"))
    assert (await visitor.send("/schedules", **filled)).status_code == 303
    one = await made(pages, ready.name)
    wanted = ready.fields["replay"]
    assert (one["cron"], one["time_zone"]) == (ready.fields["cron"], ready.fields["time_zone"])
    assert (one["replay"]["rate_per_second"], one["replay"]["extend_max_age"]) == (wanted["rate_per_second"], True)
    listed = {name: [value] if isinstance(value, str) else value for name, value in wanted["filter"].items()}
    assert one["replay"]["filter"] == listed
    assert (await visitor.get("/schedules?ready_made=nonsense")).status_code == 404


async def test_the_filter_of_a_list_comes_into_the_form(pages: Pages) -> None:
    await fail(pages, ucid(1), agent_id="x7")
    visitor = await pages.user(Role.OPERATOR)
    page = await visitor.get("/dispositions?state=failed&agent_id=x7")
    [link] = re.findall(r'href="(/schedules\?[^"]*)"', page.text)
    assert inputs(await visitor.get(html.unescape(link)))["filter"] == "state=failed&agent_id=x7"
    whole = "https://wrapup.example/dispositions?state=failed&agent_id=x7"
    await visitor.send("/schedules", **PLAN | {"filter": whole})
    assert (await made(pages))["replay"]["filter"] == {"state": ["failed"], "agent_id": ["x7"]}


async def test_what_is_wrong_is_told_at_its_field_all_at_once_and_nothing_is_made(pages: Pages) -> None:
    visitor = await pages.user(Role.OPERATOR)
    wrong = {
        "name": "-",
        "cron": "61 * * * *",
        "time_zone": "Asia/Atlantis",
        "filter": "state=faild&agent",
        "catch_up": "1s",
    }
    answer = await visitor.send("/schedules", **wrong, rate_per_second="0", overlap="both")
    assert answer.status_code == 422
    assert "is no cron expression" in fault(answer, "cron")
    assert "Asia/Atlantis" in fault(answer, "time_zone")
    assert "did you mean failed" in fault(answer, "filter")
    assert "agent" in fault(answer, "filter")  # it is not passed over
    assert "it must be 0.001 to 1000" in fault(answer, "rate_per_second")
    assert "10s to 30d" in fault(answer, "catch_up")
    for name in ("name", "overlap"):
        assert fault(answer, name)
    assert wrong.items() <= inputs(answer).items()  # nothing has to be typed again
    assert await pages.services.schedules.all(OPERATOR) == []


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({"filter": ""}, "filter", "filter"),
        ({"filter": "https://[wrapup"}, "filter", "filter"),
        ({"action": "cancel"}, "reason", "say why"),
        ({"rate_per_second": "fast"}, "rate_per_second", "'fast'"),
        ({"rate_per_second": "nan"}, "rate_per_second", "must be"),
        ({"every": "6h"}, "every", "exclude each other"),
        ({"cron": ""}, "cron", "say when"),
        ({"name": "taken"}, "name", "is taken"),
    ],
)
async def test_each_fault_has_its_field(pages: Pages, changes: dict[str, str], name: str, said: str) -> None:
    visitor = await pages.user(Role.OPERATOR)
    await visitor.send("/schedules", **PLAN | {"name": "taken"})
    answer = await visitor.send("/schedules", **PLAN | changes)
    assert answer.status_code == 422, answer.text
    assert said in fault(answer, name)
    assert len(await pages.services.schedules.all(OPERATOR)) == 1


async def test_it_is_run_by_hand_and_the_run_shows_its_effect_paused_resumed_and_deleted(pages: Pages) -> None:
    await fail(pages, ucid(1))
    visitor = await pages.user(Role.OPERATOR, "asha")
    await visitor.send("/schedules", **PLAN)
    ran = await visitor.send("/schedules/nightly/run", reason="CloudAgent is back")
    assert ran.headers["location"] == "/schedules/nightly?said=ran"
    [run] = (await made(pages))["runs"]
    for path in ("/schedules", "/schedules/nightly"):
        page = await visitor.get(path)
        assert f'<a href="/replays/{run["replay_id"]}">1 items: 1 waiting</a>' in page.text
    replay = await visitor.get(f"/replays/{run['replay_id']}")
    assert "nightly (schedule)" in text_of(replay)
    again = await visitor.send("/schedules/nightly/run")
    assert (again.status_code, "still sending" in again.text) == (409, True)

    await visitor.send("/schedules/nightly/pause", reason="maintenance")
    assert (await made(pages))["paused"]
    assert "paused" in text_of(await visitor.get("/schedules"))
    await visitor.send("/schedules/nightly/resume")
    assert not (await made(pages))["paused"]
    deleted = await visitor.send("/schedules/nightly/delete", reason="not needed")
    assert deleted.headers["location"] == "/schedules?said=deleted"
    assert (await visitor.get("/schedules/nightly")).status_code == 404
    told = text_of(await visitor.get("/audit?subject=schedule%3Anightly"))
    for action in ("created", "run by hand", "paused", "resumed", "deleted"):
        assert f"schedule {action} schedule nightly" in told


async def test_a_time_that_has_passed_is_made_up_for_by_the_clock_of_the_pages(pages: Pages) -> None:
    visitor = await pages.user(Role.OPERATOR)
    await visitor.send("/schedules", **PLAN)
    window = {"from": "2026-01-01T00:00", "to": "2026-01-03T02:30"}
    answer = await visitor.send("/schedules/nightly/backfill", **window, reason="we were down")
    assert answer.headers["location"] == "/schedules/nightly?said=backfilled"
    due = [f"{run['due_at']:%m-%d %H:%M}" for run in (await made(pages))["runs"]]
    assert due == ["01-01 21:00", "12-31 21:00"]  # half past two in India
    assert text_of(await visitor.get("/schedules/nightly")).count("made up for waits for the one before") == 2


@pytest.mark.parametrize(
    ("window", "name", "said"),
    [
        ({"from": "2026-01-02T00:00", "to": "2026-01-01T00:00"}, "to", "must be after from"),
        ({"from": "2020-01-01T00:00", "to": "2026-01-01T00:00"}, "from", "more than 100 runs"),
        ({"from": "2026-13-45T99:99", "to": "2026-01-01T00:00"}, "from", "2026-13-45"),
        ({"from": "0001-01-01T00:00", "to": "2026-01-01T00:00"}, "from", "from"),
        ({"from": "2026-01-01T00:00", "to": ""}, "to", "to"),
    ],
)
async def test_a_window_that_is_wrong_is_told_at_its_field(
    pages: Pages, window: dict[str, str], name: str, said: str
) -> None:
    visitor = await pages.user(Role.OPERATOR)
    await visitor.send("/schedules", **PLAN)
    answer = await visitor.send("/schedules/nightly/backfill", **window)
    assert answer.status_code == 422, answer.text
    assert said in fault(answer, name)
    assert (await made(pages))["runs"] == []


async def test_missed_runs_are_counted_and_shown(pages: Pages) -> None:
    visitor = await pages.user(Role.VIEWER)
    await pages.services.schedules.create(
        {"name": "nightly", "every": "1h", "replay": {"filter": {"state": "failed"}}}, OPERATOR
    )
    for state, n, ago in (("missed", 7, "2 days"), ("skipped", 1, "1 day")):
        pages.sql(
            "INSERT INTO schedule_runs (schedule_id, due_at, kind, state, n) "
            "SELECT id, now() - %s::interval, 'due', %s, %s FROM schedules",
            *(ago, state, n),
        )
    assert '<td class="n">7</td>' in (await visitor.get("/schedules")).text
    assert "skipped: the one before was still sending" in text_of(await visitor.get("/schedules"))
    said = text_of(await visitor.get("/schedules/nightly"))
    assert re.search("7 . missed: Wrapup did not run then", said)


async def test_a_viewer_sees_no_number_and_no_button(pages: Pages) -> None:
    replay = {"filter": {"did": [DID, "911123456789"], "q": f"said {DID}"}, "reason": f"{DID} rang"}
    await pages.services.schedules.create({"name": "nightly", "every": "1h", "replay": replay}, OPERATOR)
    viewer, operator = await pages.user(Role.VIEWER), await pages.user(Role.OPERATOR)
    for path in ("/schedules", "/schedules/nightly"):
        page = (await viewer.get(path)).text
        assert DID not in page
        assert 'action="/schedules' not in page
    assert "5678" in page
    assert DID in (await operator.get("/schedules/nightly")).text


def changed(answer: httpx.Response) -> dict[str, str]:
    """What the form that changes a schedule holds."""
    return inputs(answer, action="/schedules/nightly/change")


async def test_it_is_changed_from_its_page_and_what_the_form_has_no_field_for_stays(pages: Pages) -> None:
    asked = {"filter": {"state": "failed"}, "max_items": 7, "rate_per_second": 3, "reason": "shaky"}
    await pages.services.schedules.create({"name": "nightly", "every": "6h", "replay": asked}, OPERATOR)
    visitor = await pages.user(Role.OPERATOR, "asha")
    form = changed(await visitor.get("/schedules/nightly"))
    assert (form["every"], form["filter"], form["rate_per_second"]) == ("6h", "state=failed", "3")
    change = {"every": "", "cron": "15 4 * * *", "time_zone": "Asia/Kolkata", "filter": "state=failed&from=7d"}
    change["change_reason"] = "nights are quieter"
    answer = await visitor.send("/schedules/nightly/change", **form | change)
    assert answer.headers["location"] == "/schedules/nightly?said=saved"
    one = await made(pages)
    assert (one["cron"], one["every"], one["time_zone"]) == ("15 4 * * *", None, "Asia/Kolkata")
    assert one["replay"]["filter"] == {"state": ["failed"], "from": ["7d"]}
    assert (one["replay"]["max_items"], one["replay"]["rate_per_second"], one["replay"]["reason"]) == (7, 3, "shaky")
    assert "nights are quieter" in text_of(await visitor.get("/audit?subject=schedule%3Anightly"))


async def test_a_form_sent_as_it_is_changes_nothing(pages: Pages) -> None:
    plan = PLAN | {"action": "resend", "map": "agent_id: x7 = a17\ndisposition: Sold = Sale", "reason": "old names"}
    plan["rate_per_second"] = "10"
    visitor = await pages.user(Role.OPERATOR)
    assert (await visitor.send("/schedules", **plan)).status_code == 303
    before = await made(pages)
    assert before["replay"]["map"] == {"agent_id": {"x7": "a17"}, "disposition": {"Sold": "Sale"}}
    form = changed(await visitor.get("/schedules/nightly"))
    assert (await visitor.send("/schedules/nightly/change", **form)).status_code == 303
    after = await made(pages)
    assert {**after, "updated_at": None} == {**before, "updated_at": None}
    assert "x7 becomes a17" in text_of(await visitor.get("/schedules/nightly"))


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({"cron": ""}, "cron", "say when"),  # it does not stay as it was
        ({"filter": "state=faild"}, "filter", "did you mean failed"),
        ({"action": "resend"}, "map", "say which value becomes which"),
        ({"map": "agent_id: x7 = a17"}, "map", "needs the action resend"),
        ({"action": "resend", "map": "x7 = a17", "reason": "old"}, "map", "'x7 = a17' must be a field, a colon"),
        ({"action": "resend", "map": "agent_id: x7 = a = b", "reason": "old"}, "map", "'agent_id: x7 = a = b' must be"),
        ({"action": "resend", "map": "ucid: 7 = 8", "reason": "old"}, "map", "ucid"),
        ({"action": "resend", "map": "agent_id: x7 = a17"}, "reason", "say why"),
    ],
)
async def test_a_change_that_is_wrong_is_told_at_its_field_and_nothing_is_changed(
    pages: Pages, changes: dict[str, str], name: str, said: str
) -> None:
    visitor = await pages.user(Role.OPERATOR)
    await visitor.send("/schedules", **PLAN)
    before = await made(pages)
    form = changed(await visitor.get("/schedules/nightly")) | changes
    answer = await visitor.send("/schedules/nightly/change", **form)
    assert answer.status_code == 422, answer.text
    assert said in fault(answer, name)
    assert changes.items() <= changed(answer).items()  # nothing has to be typed again
    assert '<details id="change" open>' in answer.text
    assert await made(pages) == before
