"""The stand-in's opinion of CloudAgent: every row of the reply table, and the order of its checks."""

from __future__ import annotations

import pytest

from app.sandbox.replies import Fields
from app.sandbox.rules import Asked, dispose_v2, dispose_v3
from app.sandbox.state import Account

UCID = "1234567890123456"
RIGHT = {
    "customer": "acme",
    "action": "set",
    "ucid": UCID,
    "did": "918012345678",
    "agentID": "a17",
    "disposition": "Sale",
}
INVALID_CALLBACK = {
    "details": "callBackTime should be in yyyy-mm-dd HH:mm:ss Format with valid Date",
    "status": "Fail",
}
TRANSIENT = {"status": "Error", "details": "Unable to Dispose . Please retry after some time."}


@pytest.fixture
def account() -> Account:
    return Account("acme", "key")


def v3(account: Account, **changes: str) -> Fields:
    return dispose_v3(account, Asked.read(RIGHT | changes), now=0.0).reply.fields


def v2(account: Account, **changes: str) -> Fields:
    return dispose_v2(account, Asked.read(RIGHT | changes), now=0.0).reply.fields


def test_a_first_disposition_is_saved_with_a_space_before_success(account: Account) -> None:
    assert v3(account) == {"details": "Disposition saved successfully", "status": " Success"}


@pytest.mark.parametrize(
    ("changes", "reply"),
    [
        ({"action": "get"}, {"details": "Invalid action->get", "status": "Fail"}),
        ({"action": ""}, {"details": "Invalid action->", "status": "Fail"}),
        ({"disposition": ""}, {"details": "Empty disposition code", "status": "Fail"}),
        ({"disposition": "  "}, {"details": "Empty disposition code", "status": "Fail"}),
        ({"ucid": "1" * 20}, TRANSIENT),
        ({"ucid": "x7"}, {"details": "Invalid ucid [x7] or did [918012345678", "status": "Fail"}),
        ({"ucid": ""}, {"details": "Invalid ucid [] or did [918012345678", "status": "Fail"}),
        ({"did": ""}, {"details": f"Invalid ucid [{UCID}] or did [", "status": "Fail"}),
        ({"agentID": "unknown-7"}, {"details": "Invalid agent", "status": "Fail"}),
        ({"agentID": ""}, {"details": "Invalid agent", "status": "Fail"}),
        ({"callBackTime": "tomorrow"}, INVALID_CALLBACK),
        ({"callBackTime": "2026-02-30 10:00:00"}, INVALID_CALLBACK),
        ({"callBackTime": "2026-2-3 10:00:00"}, INVALID_CALLBACK),
    ],
)
def test_v3_refuses_in_the_documented_words(account: Account, changes: dict[str, str], reply: Fields) -> None:
    assert v3(account, **changes) == reply
    call = account.calls.get(changes.get("ucid", UCID))
    assert call is None or call.held is None


def test_a_ucid_of_nineteen_characters_is_no_trap(account: Account) -> None:
    assert v3(account, ucid="9" * 19)["status"] == " Success"


def test_the_first_wrong_thing_in_the_order_of_the_checks_is_the_one_that_is_told(account: Account) -> None:
    wrong = {"action": "x", "disposition": "", "ucid": "1" * 20, "agentID": "unknown", "callBackTime": "x"}
    mended = {"action": "set", "disposition": "Sale", "ucid": "abc", "did": "9"}
    told = [v3(account, **wrong)["details"]]
    for name, value in mended.items():
        wrong[name] = value
        told.append(v3(account, **wrong)["details"])
    assert told == [
        "Invalid action->x",
        "Empty disposition code",
        TRANSIENT["details"],
        "Invalid ucid [abc] or did [918012345678",
        "Invalid ucid [abc] or did [9",
    ]
    assert v3(account, **(wrong | {"ucid": UCID}))["details"] == "Invalid agent"
    assert v3(account, **(wrong | {"ucid": UCID, "agentID": "a"}))["details"] == INVALID_CALLBACK["details"]


def test_the_last_write_wins(account: Account) -> None:
    v3(account, disposition="Sale")
    assert v3(account, disposition="Wrong number")["details"] == "Disposition saved successfully"
    held = account.calls[UCID].held
    assert held is not None
    assert held.disposition == "Wrong number"
    assert account.calls[UCID].writes == 2


def test_a_callback_time_that_was_missing_is_told_as_an_update(account: Account) -> None:
    v3(account)
    updated = v3(account, callBackTime="2026-12-01 10:00:00", callBackTimeZone="Asia/Kolkata")
    assert updated == {"details": "Disposition Updated successfully", "status": "Success"}


def test_a_callback_zone_that_was_missing_is_told_as_an_update_with_a_capital(account: Account) -> None:
    v3(account, callBackTime="2026-12-01 10:00:00")
    updated = v3(account, callBackTime="2026-12-01 10:00:00", callBackTimeZone="Asia/Kolkata")
    assert updated == {"details": "Disposition Updated Successfully", "status": "Success"}


def test_a_disposition_during_the_call_is_queued_and_takes_effect_at_its_end(account: Account) -> None:
    call = account.announce(UCID, ongoing=True)
    assert v3(account) == {"details": "queued successfully", "status": "Success"}
    assert call.held is None
    call.end()
    assert call.held is not None
    assert call.held.disposition == "Sale"


def test_a_call_is_not_told_by_its_ucid_alone_also_when_it_was_met_before(account: Account) -> None:
    assert v3(account)["status"] == " Success"
    assert v3(account, did="")["details"] == f"Invalid ucid [{UCID}] or did ["
    assert v3(account)["status"] == " Success"


@pytest.mark.parametrize(
    ("formats", "accepted", "refused"),
    [
        ({"ymd"}, ["2026-12-01 10:00:00"], ["12/01/2026 10:00:00"]),
        ({"mdy"}, ["12/01/2026 10:00:00"], ["2026-12-01 10:00:00", "13/01/2026 10:00:00"]),
        ({"ymd", "mdy"}, ["12/01/2026 10:00:00", "2026-12-01 10:00:00"], ["01.12.2026 10:00:00"]),
    ],
)
def test_an_account_accepts_the_callback_formats_that_it_is_set_to(
    account: Account, formats: set[str], accepted: list[str], refused: list[str]
) -> None:
    account.change({"callback_formats": formats})
    for text in accepted:
        assert "uccess" in str(v3(account, callBackTime=text)["status"])
    for text in refused:
        assert v3(account, callBackTime=text) == INVALID_CALLBACK


def test_a_strict_account_knows_only_the_agents_and_calls_that_it_was_told(account: Account) -> None:
    account.change({"agents": ["a17"], "calls": {UCID: "918012345678"}})
    assert v3(account)["status"] == " Success"
    assert v3(account, agentID="a18")["details"] == "Invalid agent"
    assert v3(account, did="1")["details"] == f"Invalid ucid [{UCID}] or did [1"
    assert v3(account, ucid="7")["details"] == "Invalid ucid [7] or did [918012345678"


def test_an_unknown_callback_format_is_refused_and_changes_nothing(account: Account) -> None:
    with pytest.raises(ValueError, match="dmy"):
        account.change({"callback_formats": ["dmy"], "api_key": "other"})
    assert account.api_key == "key"


def test_an_account_with_a_limit_says_so_and_forgets_after_a_minute(account: Account) -> None:
    account.change({"per_minute": 2})
    asked = Asked.read(RIGHT)
    replies = [dispose_v3(account, asked, now).reply.name for now in (0.0, 1.0, 2.0, 60.5)]
    assert replies == ["saved", "saved", "max_limit", "saved"]


def test_magic_values_show_refusals_without_any_set_up(account: Account) -> None:
    assert v3(account, ucid="4040012345")["details"] == "Invalid ucid [4040012345] or did [918012345678"
    assert v3(account, ucid="2020012345")["details"] == "queued successfully"


def test_an_account_without_magic_takes_magic_values_for_ordinary_ones(account: Account) -> None:
    account.change({"magic": False})
    assert v3(account, ucid="4040012345")["details"] == "Disposition saved successfully"


def test_v2_sets_a_disposition_once(account: Account) -> None:
    assert v2(account, action="Set") == {"details": "Disposition saved successfully", "status": "Success"}
    assert v2(account) == {"details": "This call is already Disposed.", "status": "Fail"}


def test_v2_tells_of_a_queued_disposition_in_message(account: Account) -> None:
    account.announce(UCID, ongoing=True)
    assert v2(account) == {"status": "Success", "message": "Disposition Queued Successfully"}
    assert v2(account)["details"] == "This call is already Disposed."


def test_v2_wants_a_reason_to_pause(account: Account) -> None:
    assert v2(account, pauseAfterDispose="true") == {"details": "Provide pause reason.", "status": "Fail"}
    assert v2(account, pauseAfterDispose="true", pauseReason="Lunch")["status"] == "Success"


def test_v2_lists_the_codes_of_the_account_without_looking_at_a_call(account: Account) -> None:
    account.change({"codes": ["Sale", "Call back"]})
    assert v2(account, action="get", ucid="", did="") == {
        "status": "Success",
        "details": ("Sale", "Call back"),
    }


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        ({"action": "drop"}, "Invalid action->drop"),
        ({"disposition": ""}, "Empty disposition code"),
        ({"ucid": "1" * 20}, "Unable to Dispose . Please retry after some time."),
        ({"ucid": "x"}, "Invalid ucid [x] or did [918012345678"),
        ({"agentID": "unknown"}, "Invalid agent"),
    ],
)
def test_v2_refuses_bad_data_in_the_words_of_v3(account: Account, changes: dict[str, str], details: str) -> None:
    assert v2(account, **changes)["details"] == details
