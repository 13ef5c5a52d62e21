"""``wrapup submit FILE``: every row stored once, in order, or written down with the reason."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal

import psycopg
import pytest

from app.domain.filters import Filter

HEADER = "account,ucid,did,agent_id,disposition,comments\n"


def _ucid(number):
    return str(10**15 + number)


def _line(number, disposition="Sale", comments=""):
    return f"acme,{_ucid(number)},918012345678,a17,{disposition},{comments}\n"


def _object(number, **fields):
    given = {"ucid": _ucid(number), "did": "918012345678", "agent_id": "a17", "disposition": "Sale"}
    return {"account": "acme"} | given | fields


@pytest.fixture
def put(tmp_path):
    """Writes a file where the command is run."""

    def put(name, content):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return put


@pytest.fixture
def stored(services):
    """What is stored, in the order of arrival."""

    async def stored():
        page = await services.reports.page(Filter(), after=None, limit=500)
        return sorted(page.items, key=lambda one: one["id"])

    return stored


@pytest.fixture
def until_stored(stored):
    """Waits until there are so many."""

    async def until_stored(count):
        async with asyncio.timeout(20):
            while len(await stored()) < count:  # noqa: ASYNC110 - another process stores them
                await asyncio.sleep(0.05)

    return until_stored


async def test_a_csv_as_excel_writes_it_is_stored_in_order(wrapup, account, put, stored):
    text = HEADER + _line(1, comments='"called back,\nwants ""more"""') + _line(2, "No answer") + ",,,,,\n\n" + _line(3)
    put("calls.csv", ("\ufeff" + text.replace("\n", "\r\n")).encode())
    ran = await wrapup("submit", "calls.csv")
    assert (ran.status, ran.out, ran.err) == (0, "stored 3, there already 0, failed 0\n", "")
    found = await stored()
    assert [one["ucid"] for one in found] == [_ucid(1), _ucid(2), _ucid(3)]
    assert found[0]["comments"] == 'called back,\nwants "more"'
    assert (found[1]["disposition"], found[1]["comments"]) == ("No answer", None)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
async def test_the_delimiter_is_seen_in_the_header(wrapup, account, put, stored, delimiter):
    put("calls.csv", (HEADER + _line(1)).replace(",", delimiter))
    assert (await wrapup("submit", "calls.csv")).status == 0
    assert len(await stored()) == 1


async def test_columns_are_given_names_constants_and_leave(wrapup, account, put, stored):
    put(
        "crm.csv", f"Agent Name^ucid^did^disposition^callBackTime^Notes\na17^{_ucid(1)}^9180^Later^2030-01-02 10:00^x\n"
    )
    options = ("--map", "Agent Name=agentID", "--set", "account=acme", "--ignore", "Notes", "--delimiter", "^")
    ran = await wrapup("submit", "crm.csv", *options)
    assert (ran.status, ran.err) == (0, "")
    found = (await stored())[0]
    assert (found["agent_id"], found["callback_time"] is not None) == ("a17", True)


async def test_a_header_that_cannot_work_is_refused_with_the_options_that_mend_it(wrapup, account, put, stored):
    put("crm.csv", f"customer,UCID,Agent,disposition,Notes,\nacme,{_ucid(1)},a17,Sale,x,\n")
    ran = await wrapup("submit", "crm.csv", "--map", "Agent Id=agent_id")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    for said in (
        "there is no column 'Agent Id'; there are 'customer', 'UCID', 'Agent', 'disposition', 'Notes'",
        "not a field: 'UCID' (--map 'UCID=ucid'?)",
        "'Notes'",
        "no column for ucid, did, agent_id",
    ):
        assert said in ran.err
    options = ("--map", "UCID=ucid", "--map", "Agent=agent_id", "--set", "did=9180", "--ignore", "*")
    assert (await wrapup("submit", "crm.csv", *options)).status == 0
    assert len(await stored()) == 1


async def test_a_second_run_stores_nothing_twice_whatever_the_file_is_called(wrapup, account, put, stored):
    put("calls.csv", HEADER + _line(1) + _line(2) + _line(1))
    assert (await wrapup("submit", "calls.csv")).out == "stored 3, there already 0, failed 0\n"
    put("again.csv", HEADER + _line(1) + _line(2) + _line(1))
    assert (await wrapup("submit", "again.csv")).out == "stored 0, there already 3, failed 0\n"
    put("calls.csv", HEADER + _line(3))
    told = (await wrapup("submit", "calls.csv", "--json")).json
    assert told.pop("run")
    assert told == {"stored": 1, "there_already": 0, "failed": 0, "failures": None, "complete": True}
    assert len(await stored()) == 4


async def test_failures_are_written_with_the_reason_and_can_be_mended_and_submitted(wrapup, account, put, tmp_path):
    text = HEADER + _line(1) + "acme,1.23E+15,918012345678,a17,Sale,\n" + _line(2) + 'nobody,7,9180,a17,,"two\nlines"\n'
    put("calls.csv", "\ufeff" + text)
    ran = await wrapup("submit", "calls.csv")
    assert (ran.status, ran.out) == (1, "stored 2, there already 0, failed 2 (calls.failed.csv)\n")
    assert ran.err.startswith("wrapup: row 2: ucid '1.23E+15' was rounded, by a spreadsheet perhaps;")
    assert "\nwrapup: row 4: There is no account 'nobody'." in ran.err
    failed = tmp_path / "calls.failed.csv"
    written = failed.read_bytes().decode()
    assert written.startswith("\ufeffaccount,ucid,did,agent_id,disposition,comments,idempotency_key,error\n")
    rows = [*csv.DictReader(io.StringIO(written.removeprefix("\ufeff"), newline=""))]
    assert (rows[0]["ucid"], rows[1]["comments"]) == ("1.23E+15", "two\nlines")
    assert rows[0]["error"].startswith("ucid '1.23E+15' was rounded")
    assert "disposition is empty" in rows[1]["error"]

    failed.write_text(written.replace("1.23E+15", _ucid(3)), encoding="utf-8")
    ran = await wrapup("submit", "calls.failed.csv")
    assert (ran.status, ran.out) == (1, "stored 1, there already 0, failed 1 (calls.failed-2.csv)\n")
    assert (tmp_path / "calls.failed-2.csv").read_text().count(",error\n") == 1


async def test_a_file_without_failures_leaves_none(wrapup, account, put, tmp_path):
    put("calls.csv", HEADER + _line(1))
    await wrapup("submit", "calls.csv", "--failures", "bad.csv")
    assert [path.name for path in tmp_path.glob("*.csv")] == ["calls.csv"]


async def test_many_failures_are_told_in_few_lines(wrapup, account, put, tmp_path):
    put("calls.csv", HEADER + "".join(f"acme,x{number},9,a,S,\n" for number in range(30)))
    ran = await wrapup("submit", "calls.csv", "--failures", "bad.csv")
    assert ran.err.count("\n") == 11
    assert "They are all in bad.csv." in ran.err
    assert len((tmp_path / "bad.csv").read_text().splitlines()) == 31
    same = await wrapup("submit", "calls.csv", "--failures", "./calls.csv")
    assert (same.status, "is the file that is read" in same.err) == (2, True)


async def test_a_row_that_does_not_fit_its_header_or_is_not_utf8_spoils_no_other(
    wrapup, account, put, stored, tmp_path
):
    wide = _line(1, comments="called, back")
    put("calls.csv", (HEADER + wide + _line(2)).encode() + _line(3, comments="caf\xe9").encode("latin-1") + b"acme,5\n")
    ran = await wrapup("submit", "calls.csv")
    assert ran.out == "stored 1, there already 0, failed 3 (calls.failed.csv)\n"
    assert "row 1: has 7 cells, the header has 6: is there a ',' without quotes?" in ran.err
    assert "row 3: comments is not UTF-8" in ran.err
    assert "row 4: did is missing" in ran.err
    assert [one["ucid"] for one in await stored()] == [_ucid(2)]
    assert b"caf\xe9" in (tmp_path / "calls.failed.csv").read_bytes()


async def test_a_broken_file_is_told_with_the_way_to_go_on(wrapup, account, put, stored):
    put("calls.csv", HEADER + _line(1) + _line(2, comments='"called') + _line(3, comments='"back"'))
    ran = await wrapup("submit", "calls.csv", "--json")
    assert ran.status == 1
    assert (ran.json["stored"], ran.json["complete"]) == (1, False)
    run = ran.json["run"]
    assert ran.err.startswith("wrapup: Row 2, which ends in line 4, is not CSV: ")
    assert f"go on with --run {run}" in ran.err
    put("calls.csv", HEADER + _line(1) + _line(2, comments='"called"') + _line(3, comments='"back"'))
    ran = await wrapup("submit", "calls.csv", "--run", run)
    assert (ran.status, ran.out) == (0, "stored 2, there already 1, failed 0\n")
    put("wide.csv", (HEADER + _line(1)).encode("utf-16"))
    ran = await wrapup("submit", "wide.csv")
    assert (ran.status, ran.err) == (1, "wrapup: The file is UTF-16. Save it as UTF-8 ('CSV UTF-8' in Excel).\n")


async def test_ndjson_is_taken_line_by_line(wrapup, account, put, stored, tmp_path):
    lines = [
        json.dumps({**_object(1), "error": "of an earlier time"}),
        '{"account": "acme", "ucid": 1234567890123456789012345, "disposition": "हाँ"}',
        "{broken",
        "",
        '{"account": "acme", "account": "other"}',
        json.dumps({"Agent": "a9", **_object(2, agent_id=None)}),
        json.dumps(_object(3, idempotency_key="mine")),
        "[]",
    ]
    put("calls.jsonl", "\n".join(lines))
    ran = await wrapup("submit", "calls.jsonl", "--map", "Agent=agent_id")
    assert ran.out == "stored 2, there already 0, failed 5 (calls.failed.jsonl)\n"
    for said in (
        "row 2: ucid came as a number",
        "row 3: is not JSON: ",
        "row 4: has a key twice",
        "row 5: agent_id comes twice, once as 'agent_id'",
        "row 7: must be an object, not a list",
    ):
        assert said in ran.err
    failed = [json.loads(line) for line in (tmp_path / "calls.failed.jsonl").read_text().splitlines()]
    assert failed[0]["ucid"] == 1234567890123456789012345
    assert failed[0]["error"].startswith("ucid came as a number")
    assert failed[1]["unreadable"] == "{broken"
    assert len(await stored()) == 2


@pytest.mark.parametrize("wrapped", [True, False])
async def test_json_is_a_list_or_a_batch(wrapup, account, put, stored, tmp_path, wrapped):
    items = [_object(1), {"ucid": "x"}, _object(2, pause_after_dispose=True), {"agentID": "a"}]
    put("calls.json", json.dumps({"dispositions": items} if wrapped else items, indent=2))
    ran = await wrapup("submit", "calls.json", "--set", "account=acme")
    assert ran.out == "stored 2, there already 0, failed 2 (calls.failed.json)\n"
    assert [one["pause_after_dispose"] for one in await stored()] == [False, True]
    failed = json.loads((tmp_path / "calls.failed.json").read_text())
    assert [item["error"].split(";")[0] for item in failed] == [
        "ucid 'x' has something in it that is not a digit 0 to 9",
        "ucid is missing: the call's UCID from CloudAgent, digits as text",
    ]


async def test_json_that_is_none_or_something_else_says_what_is_taken(wrapup, account, put):
    put("calls.json", f"{json.dumps(_object(1))}\n{json.dumps(_object(2))}\n")
    ran = await wrapup("submit", "calls.json")
    assert (ran.status, "say --format ndjson" in ran.err) == (1, True)
    assert (await wrapup("submit", "calls.json", "--format", "ndjson")).status == 0
    put("calls.json", json.dumps(_object(1)))
    ran = await wrapup("submit", "calls.json")
    assert (ran.status, "must have a list of objects" in ran.err) == (1, True)


async def test_stdin_is_taken_under_a_name(wrapup, account, stored, tmp_path):
    text = HEADER + _line(1) + "acme,x,9,a,S,\n"
    unnamed = await wrapup("submit", "-", "--format", "csv", stdin=text)
    assert (unnamed.status, "--run is missing" in unnamed.err) == (2, True)
    unknown = await wrapup("submit", "-", "--run", "monday", stdin=text)
    assert (unknown.status, "--format is missing" in unknown.err) == (2, True)
    for counted in ("stored 1, there already 0, failed 1", "stored 0, there already 1, failed 1"):
        ran = await wrapup("submit", "-", "--format", "csv", "--run", "monday", stdin=text)
        assert ran.out.startswith(counted)
    assert (tmp_path / "monday.failed.csv").exists()
    changed = await wrapup("submit", "-", "--format", "csv", "--run", "monday", stdin=HEADER + _line(1, "Lost"))
    assert changed.status == 1
    assert "came before with other fields" in changed.err
    assert len(await stored()) == 1


async def test_what_is_called_wrongly_is_told_before_anything_is_done(wrapup, account, put, stored):
    put("calls.csv", HEADER + _line(1))
    for words, said in (
        (("nowhere.csv",), "'nowhere.csv' can't be read: No such file or directory"),
        (("calls.csv", "--account", "acme"), "for all rows: --set account=…"),
        (("calls.csv", "--wait"), "--wait is for one disposition"),
        (("--run", "x", "--ucid", "1"), "there is no FILE"),
        (("calls.csv", "--map", "Agent"), "is not like 'Agent Name=agent_id'"),
        (("calls.csv", "--set", "agent=x"), "'agent' is not a field"),
        (("calls.csv", "--delimiter", "::"), "is not one character"),
        (("calls.csv", "--run", "a b"), "--run 'a b' is not"),
    ):
        ran = await wrapup("submit", *words)
        assert (ran.status, ran.out) == (2, ""), words
        assert said in ran.err
    assert await stored() == []


async def test_a_dry_run_checks_all_and_stores_nothing(wrapup, account, put, stored, tmp_path):
    put("calls.csv", HEADER + _line(1) + "nobody,1,9,a,S,\n" + "acme,1e15,9,a,S,\n")
    ran = await wrapup("submit", "calls.csv", "--dry-run")
    assert (ran.status, ran.out) == (1, "good 1, failed 2\n")
    assert "row 2: There is no account 'nobody'" in ran.err
    assert "row 3: ucid '1e15' was rounded" in ran.err
    assert (await stored(), [path.name for path in tmp_path.glob("*.csv")]) == ([], ["calls.csv"])
    assert (await wrapup("submit", "calls.csv", "--dry-run", "--failures", "bad.csv")).out.endswith("(bad.csv)\n")


async def test_a_constant_does_not_overrule_a_row(wrapup, account, put):
    put("calls.csv", HEADER + _line(1) + _line(2).replace("acme", "") + _line(3).replace("acme", "other"))
    ran = await wrapup("submit", "calls.csv", "--set", "account=acme")
    assert ran.out.startswith("stored 2, there already 0, failed 1")
    assert "row 3: account is 'other' here, and --set says 'acme'" in ran.err


async def test_of_the_rows_of_one_call_the_last_one_is_newest(wrapup, account, put, stored):
    put("calls.csv", HEADER + "".join(_line(number % 3, f"D{number}") for number in range(300)))
    assert (await wrapup("submit", "calls.csv")).status == 0
    newest = {one["ucid"]: one["disposition"] for one in await stored() if one["state"] == "queued"}
    assert newest == {_ucid(0): "D297", _ucid(1): "D298", _ucid(2): "D299"}


async def test_interrupted_it_tells_how_far_it_came_and_goes_on_the_next_time(wrapup, account, stored, until_stored):
    words = ("submit", "-", "--format", "csv", "--run", "tuesday")
    text = HEADER + "".join(map(_line, range(20)))
    running = await wrapup.start(*words)
    running.stdin.write(text.encode())
    await running.stdin.drain()  # and no end
    await until_stored(20)
    running.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        out, err = await asyncio.gather(running.stdout.read(), running.stderr.read())
        status = await running.wait()
    assert (status, out) == (1, b"stored 20, there already 0, failed 0\n")
    assert err.startswith(b"wrapup: stopped after row 20. Run the same again to go on")
    ran = await wrapup(*words, stdin=text + _line(20))
    assert (ran.status, ran.out) == (0, "stored 1, there already 20, failed 0\n")
    assert len(await stored()) == 21


@pytest.fixture
async def cut(database_url):
    """Ends the session of whoever waits for a lock, once there is one."""

    async def cut():
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin, asyncio.timeout(20):
            gone = 0
            while not gone:
                found = await admin.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                ((gone,),) = await found.fetchall()

    return cut


async def test_a_row_that_the_database_did_not_take_is_tried_again(wrapup, account, put, stored, database_url, cut):
    put("calls.csv", HEADER + _line(1) + _line(2) + _line(1, "Lost"))
    async with await psycopg.AsyncConnection.connect(database_url) as blocker:
        await blocker.execute("LOCK TABLE idempotency_keys IN EXCLUSIVE MODE")
        running = await wrapup.start("submit", "calls.csv")
        await cut()
    async with asyncio.timeout(30):
        out, err = await running.communicate()
    assert (running.returncode, out, err) == (0, b"stored 3, there already 0, failed 0\n", b"")
    newest = [one["disposition"] for one in await stored() if (one["ucid"], one["state"]) == (_ucid(1), "queued")]
    assert newest == ["Lost"]


async def test_what_may_be_stored_keeps_its_key_among_the_failures(
    wrapup, account, put, stored, database_url, cut, tmp_path
):
    put("calls.csv", HEADER + _line(1) + _line(2))
    async with await psycopg.AsyncConnection.connect(database_url) as blocker:
        await blocker.execute("LOCK TABLE idempotency_keys IN EXCLUSIVE MODE")
        running = await wrapup.start("submit", "calls.csv")
        await cut()
        running.send_signal(signal.SIGINT)  # no more tries
        async with asyncio.timeout(30):
            out, err = await running.communicate()
    assert (running.returncode, out) == (1, b"stored 0, there already 0, failed 2 (calls.failed.csv)\n")
    assert b"row 1: The database did not confirm that it has the disposition." in err
    assert (await wrapup("submit", "calls.failed.csv")).out == "stored 2, there already 0, failed 0\n"
    assert (await wrapup("submit", "calls.csv")).out == "stored 0, there already 2, failed 0\n"


async def test_a_database_that_is_not_there_is_told_at_once(wrapup, account, put):
    put("calls.csv", HEADER + _line(1))
    ran = await wrapup("submit", "calls.csv", WRAPUP_DATABASE_URL="postgresql://127.0.0.1:1/none")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("wrapup: The database can't be used: ")


async def test_a_bar_is_shown_in_a_terminal_and_the_count_goes_to_stdout(wrapup, account, put, terminal):
    user, program = terminal
    put("calls.csv", HEADER + _line(1) + "acme,x,9,a,S,\n")
    running = await wrapup.start("submit", "calls.csv", stderr=program, TERM="xterm")
    os.close(program)
    out, _ = await running.communicate()
    assert out == b"stored 1, there already 0, failed 1 (calls.failed.csv)\n"
    seen = os.read(user, 100_000)
    assert b"2 rows, 1 failed" in seen
    assert b"row 2: ucid 'x'" in seen
