"""Customers' numbers and agents' notes: on no page for a viewer, on all for who works with them."""

from __future__ import annotations

from deliveries import ucid
from visitors import API_KEY, Pages, fail

from app.services.keys import OPERATOR
from app.services.replays import read_request
from app.services.users import Role
from app.storage.failures import Wanted

DID = "919812345678"
NOTE = "her mother is ill"


async def test_a_viewer_sees_no_number_and_no_note_on_any_page(pages: Pages) -> None:
    one = await fail(pages, ucid(1), cause="invalid_call", did=DID, comments=NOTE)
    pages.sql("UPDATE events SET reason = %s WHERE disposition_id = %s", f"about {DID}", one)
    [failure] = (await pages.services.failures.all(Wanted(), limit=1)).failures
    addresses = (
        *("/", "/failures", f"/failures/{failure['id']}", "/dispositions", f"/dispositions/{one}"),
        *(f"/calls/acme/{ucid(1)}", "/accounts", "/accounts/acme", "/audit"),
    )
    viewer, operator = await pages.user(Role.VIEWER), await pages.user(Role.OPERATOR)
    seen = {Role.VIEWER: "", Role.OPERATOR: ""}
    for path in addresses:
        for visitor, role in ((viewer, Role.VIEWER), (operator, Role.OPERATOR)):
            answer = await visitor.get(path)
            assert answer.status_code == 200, path
            seen[role] += answer.text
    assert API_KEY not in seen[Role.VIEWER] + seen[Role.OPERATOR]
    assert DID not in seen[Role.VIEWER]
    assert NOTE not in seen[Role.VIEWER]
    assert "5678" in seen[Role.VIEWER]  # the last digits, to tell one from another
    assert DID in seen[Role.OPERATOR]
    assert NOTE in seen[Role.OPERATOR]


async def test_a_viewer_sees_no_number_in_what_a_replay_was_asked_to_do(pages: Pages) -> None:
    await fail(pages, ucid(1), cause="invalid_call", did=DID)
    right = "911122334455"
    order = {
        "filter": {"did": DID, "q": DID, "state": "failed"},
        "action": "resend",
        "map": {"did": {DID: right}},
        "reason": f"{DID} is wrong",
        "start": False,
    }
    replay = (await pages.services.replays.create(read_request(order, OPERATOR), OPERATOR)).replay
    assert replay.total == 1
    viewer, operator = await pages.user(Role.VIEWER), await pages.user(Role.OPERATOR)
    for path in ("/replays", f"/replays/{replay.id}", "/audit"):
        answer = await viewer.get(path)
        seen = answer.text
        assert answer.status_code == 200, path
        assert DID not in seen, path
        assert right not in seen, path
        assert DID in (await operator.get(path)).text, path
    seen = (await viewer.get(f"/replays/{replay.id}")).text
    assert seen.count("••••••••5678") == 3  # in did, q, and what is corrected
    assert "••••••••4455" in seen
    assert right in (await operator.get(f"/replays/{replay.id}")).text


async def test_a_viewer_can_not_find_out_whether_a_number_is_there(pages: Pages) -> None:
    """By no filter, search or file: what is there and what is not look the same."""
    one = await fail(pages, ucid(1), cause="refused", did=f"+{DID}", agent_id="a17")
    pages.sql(
        "INSERT INTO attempts (id, disposition_id, account_id, number, epoch, worker, started_at, reply_details) "
        "SELECT uuidv7(), id, account_id, 1, 1, '', now(), 'Number ' || did || ' is barred' FROM dispositions "
        "WHERE id = %s",
        one,
    )
    viewer, operator = await pages.user(Role.VIEWER), await pages.user(Role.OPERATOR)
    for number in (f"%2B{DID}", "4711"):
        for path in ("/dispositions", "/dispositions.csv", "/dispositions.jsonl"):
            answer = await viewer.get(f"{path}?did={number}")
            assert answer.status_code == 422, path
            assert "customers&#39; numbers are not shown to it in full" in answer.text, path
    for text in (DID, f"%2B{DID}", f"number+%2B{DID[:7]}", f"{DID[-4:]}+is", f"{DID}+is+barred", "5678 is"):
        found = (await viewer.get(f"/dispositions?q={text}")).text
        assert (one in found, "numbers are not searched for your role" in found) == (False, True), text
        assert one not in (await viewer.get(f"/dispositions.csv?q={text}")).text, text
    for text in ("is+barred", "a17", ucid(1), one):
        assert one in (await viewer.get(f"/dispositions?q={text}")).text, text
    for text in (f"did=%2B{DID}", f"q={DID}", f"q={DID}+is+barred"):
        assert one in (await operator.get(f"/dispositions?{text}")).text, text
    assert 'name="did"' not in (await viewer.get("/dispositions")).text
    assert 'name="did"' in (await operator.get("/dispositions")).text
