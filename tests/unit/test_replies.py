"""The reply table: CloudAgent's words in, outcomes out."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.replies import REMEDIES, Answer, Certainty, NoAnswer, Outcome, Remedy, Verdict, classify

# The rows as the vendor writes them: status, details, outcome. Then those of the JSON successors.
ROWS = [
    (" Success", "Disposition saved successfully", "saved"),
    ("Success", "queued successfully", "queued_upstream"),
    ("Success", "Disposition Updated successfully", "updated"),
    ("Success", "Disposition Updated Successfully", "updated"),
    ("Fail", "Authentication fails", "authentication_failed"),
    ("Fail", "Invalid ucid [8189XXXXX] or did [9140XXXXXXX", "invalid_call"),
    ("Error", "Unable to Dispose . Please retry after some time.", "retry_later"),
    ("Fail", "Invalid action->XXXXX", "invalid_action"),
    ("Fail", "Empty disposition code", "empty_disposition"),
    ("Fail", "Invalid agent", "invalid_agent"),
    ("Fail", "callBackTime should be in yyyy-mm-dd HH:mm:ss Format with valid Date", "invalid_callback_time"),
    ("Success", "Disposition Queued Successfully", "queued_upstream"),
    ("Fail", "This call is already Disposed.", "already_disposed"),
    ("Fail", "Provide pause reason.", "pause_reason_missing"),
    ("false", "Invalid userName or apiKey", "authentication_failed"),
    ("false", "Token Expired", "authentication_failed"),
    ("false", "Invalid Token", "authentication_failed"),
    ("false", "Token Should Not be Null or Empty.", "authentication_failed"),
    ("Error", "Max limit exceeded", "rate_limited"),
    ("false", "Max limit exceeded", "rate_limited"),
    # Wordings that the table does not have.
    ("Fail", "Campaign is archived", "refused"),
    ("Error", "ORA-12541: no listener", "retry_later"),
    ("Maybe", "Disposition noted", "unreadable_reply"),
    ("Success", "Invalid agent", "unreadable_reply"),
    ("Success", "Welcome to CloudAgent", "unreadable_reply"),
    ("Fail", "Disposition saved successfully", "refused"),
    ("Error", "Disposition saved successfully", "retry_later"),
    ("", "Disposition saved successfully", "unreadable_reply"),
]
SUCCESSES = {outcome for outcome, remedy in REMEDIES.items() if remedy is Remedy.NONE}

Spelling = Callable[[str, str], bytes]


def spelt(**changes: object) -> Spelling:
    """The body with something done to the two texts, or more members beside them."""

    def spell(status: str, details: str) -> bytes:
        return json.dumps({"status": status, "details": details} | changes).encode()

    return spell


SPELLINGS: dict[str, Spelling] = {
    "status first": spelt(),
    "details first": lambda status, details: json.dumps({"details": details, "status": status}).encode(),
    "spaces": lambda status, details: json.dumps(
        {"status": f"  {status} ", "details": f"\t{details.replace(' ', '   ')}\n"}
    ).encode(),
    "upper case": lambda status, details: json.dumps({"status": status.upper(), "details": details.upper()}).encode(),
    "lower case": lambda status, details: json.dumps({"status": status.lower(), "details": details.lower()}).encode(),
    "members in another case": lambda status, details: json.dumps({"Status": status, "DETAILS": details}).encode(),
    "members with spaces": lambda status, details: json.dumps({" status": status, "details ": details}).encode(),
    "message for details": lambda status, details: json.dumps({"status": status, "message": details}).encode(),
    "message beside empty details": lambda status, details: json.dumps(
        {"details": "", "status": status, "message": details}
    ).encode(),
    "message beside null": lambda status, details: json.dumps(
        {"details": None, "status": status, "message": details}
    ).encode(),
    "byte-order mark": lambda status, details: b"\xef\xbb\xbf" + spelt()(status, details),
    "blank lines around": lambda status, details: b"\r\n \n" + spelt()(status, details) + b"\n\n ",
    "extra members": spelt(data=None, code=0, meta={"status": "Fail", "details": "Invalid agent"}, list=[1, [2]]),
}


def said(
    body: bytes | str | dict[str, object], http_status: int = 200, content_type: str = "application/json"
) -> Verdict:
    """The verdict on a reply with this body."""
    if isinstance(body, dict):
        body = json.dumps(body)
    raw = body.encode() if isinstance(body, str) else body
    return classify(Answer(http_status, raw, content_type=content_type, latency_ms=7))


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_each_row_is_known_however_it_is_spelt(spelling: Spelling) -> None:
    verdicts = [said(spelling(status, details)) for status, details, _ in ROWS]
    found = [
        (status, details, verdict.outcome.value) for (status, details, _), verdict in zip(ROWS, verdicts, strict=True)
    ]
    assert found == ROWS
    assert {(verdict.http_status, verdict.latency_ms) for verdict in verdicts} == {(200, 7)}


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "text/plain", "", "nonsense"])
def test_the_content_type_does_not_matter(content_type: str) -> None:
    for status, details, outcome in ROWS:
        assert said(spelt()(status, details), content_type=content_type).outcome.value == outcome


@pytest.mark.parametrize(
    "details",
    [
        "Invalid ucid [8189] or did [9140",
        "Invalid ucid [] or did []",
        "Invalid UCID",
        "Invalid did [9140]",
        "invalid ucid [8189\n] or did [9140",
    ],
)
def test_the_values_in_a_wording_do_not_matter(details: str) -> None:
    assert said({"status": "Fail", "details": details}).outcome is Outcome.INVALID_CALL


@pytest.mark.parametrize(
    "details",
    [
        "Disposition saved successfully, not",
        "Disposition not saved successfully",
        "Disposition saved successfully for another call",
        "saved successfully",
        "Disposition saved",
        "Invalid ucids",
    ],
)
def test_a_longer_or_shorter_wording_is_another_wording(details: str) -> None:
    assert said({"status": "Success", "details": details}).outcome is Outcome.UNREADABLE_REPLY
    assert said({"status": "Fail", "details": details}).outcome is Outcome.REFUSED


@pytest.mark.parametrize("status", [False, "false", "False"])
def test_the_gateways_false_is_a_refusal(status: object) -> None:
    assert said({"status": status, "message": "UserName is null"}).outcome is Outcome.REFUSED
    assert said({"status": status, "message": "Token Expired"}).outcome is Outcome.AUTHENTICATION_FAILED


def test_a_status_alone_has_the_word() -> None:
    assert said({"status": "Error"}).outcome is Outcome.RETRY_LATER
    assert said({"status": "Fail"}).outcome is Outcome.REFUSED
    assert said({"status": "Success"}).outcome is Outcome.UNREADABLE_REPLY


def test_a_refusal_in_unknown_words_is_shown_with_them() -> None:
    verdict = said({"status": " Fail", "details": "Campaign  is\narchived"})
    assert (verdict.reply_status, verdict.reply_details) == ("Fail", "Campaign  is archived")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"<html>We are under maintenance</html>",
        b'{"status": " Success", "details": "Disposition saved succ',
        b'{"status": "Success", "details": "Disposition saved successfully"} and more',
        b'[{"status": "Success", "details": "Disposition saved successfully"}]',
        b'"Disposition saved successfully"',
        b"null",
        b"42",
        b"{}",
        b'{"status": 1, "details": ["Disposition saved successfully"]}',
        b'{"state": "Success", "detail": "Disposition saved successfully"}',
        bytes(range(128, 256)),
        json.dumps({"status": "Success", "details": "Disposition saved successfully"}).encode("utf-16"),
        b"[" * 100_000,
        b"9" * 10_000,
        b'{"status": ' + b"9" * 10_000 + b"}",
    ],
    ids=range(17),
)
def test_a_body_that_is_not_that_json_leaves_the_outcome_open(body: bytes) -> None:
    verdict = said(body)
    assert verdict.outcome is Outcome.UNREADABLE_REPLY
    assert verdict.certainty is Certainty.SENT_UNKNOWN
    assert verdict.remedy is Remedy.WAIT


def test_the_start_of_an_unreadable_body_is_kept_for_people() -> None:
    assert said("<html>\n  We are under maintenance").reply_details == "<html>   We are under maintenance"
    assert said(b"").reply_details == "the reply was empty"


def test_a_body_that_was_cut_at_the_limit_is_never_believed() -> None:
    whole = json.dumps({"status": "Success", "details": "Disposition saved successfully"}).encode()
    verdict = classify(Answer(200, whole, too_large=True))
    assert (verdict.outcome, verdict.certainty) == (Outcome.UNREADABLE_REPLY, Certainty.SENT_UNKNOWN)
    assert verdict.reply_details == "the reply was larger than the limit"


def expected_by_http_status(http_status: int) -> Outcome | None:
    """What the facts say of an HTTP status whose body says success: None where the body has the word."""
    if http_status == 429:
        return Outcome.RATE_LIMITED
    if http_status in (401, 403):
        return Outcome.AUTHENTICATION_FAILED
    if http_status == 404 or 300 <= http_status <= 399:
        return Outcome.MISCONFIGURED
    if 500 <= http_status <= 599 or http_status == 408:
        return Outcome.UPSTREAM_ERROR
    return None if 200 <= http_status <= 299 else Outcome.UNREADABLE_REPLY


def test_status_and_body_must_agree_on_a_success() -> None:
    for http_status in range(100, 600):
        verdict = said({"status": "Success", "details": "Disposition saved successfully"}, http_status)
        assert verdict.outcome is (expected_by_http_status(http_status) or Outcome.SAVED), http_status
        assert verdict.http_status == http_status


@pytest.mark.parametrize("http_status", [400, 405, 410, 422])
def test_an_unspecific_4xx_leaves_the_word_to_the_body(http_status: int) -> None:
    assert said({"status": "Fail", "details": "Invalid agent"}, http_status).outcome is Outcome.INVALID_AGENT
    assert said({"status": "Fail", "details": "whatever"}, http_status).outcome is Outcome.REFUSED
    assert said("<html>", http_status).outcome is Outcome.UNREADABLE_REPLY


@pytest.mark.parametrize("http_status", [429, 401, 404, 302, 503])
def test_a_status_with_the_last_word_keeps_the_bodys_text(http_status: int) -> None:
    verdict = said({"status": "Fail", "details": "Invalid agent"}, http_status)
    assert (verdict.reply_status, verdict.reply_details) == ("Fail", "Invalid agent")
    assert verdict.certainty is Certainty.ANSWERED


def test_a_call_that_was_not_sent_is_unreachable_and_one_without_an_answer_is_no_reply() -> None:
    verdict = classify(NoAnswer(Certainty.NOT_SENT, "connection refused", latency_ms=3))
    assert (verdict.outcome, verdict.certainty, verdict.latency_ms) == (Outcome.UNREACHABLE, Certainty.NOT_SENT, 3)
    verdict = classify(NoAnswer(Certainty.SENT_UNKNOWN, "reset"))
    assert (verdict.outcome, verdict.certainty) == (Outcome.NO_REPLY, Certainty.SENT_UNKNOWN)
    assert (verdict.http_status, verdict.reply_status, verdict.reply_details) == (None, None, "reset")


def test_every_outcome_has_a_remedy() -> None:
    assert set(REMEDIES) == set(Outcome)


def test_only_these_are_deliveries() -> None:
    assert {outcome.value for outcome in SUCCESSES} == {"saved", "queued_upstream", "updated", "confirmed_by_conflict"}


def test_their_words_can_break_no_line_and_are_kept_short() -> None:
    verdict = said({"status": "Fail\x00\n", "details": "a\r\nb\x1b[31m\u2028\ud800" + "x" * 1000})
    assert verdict.reply_status == "Fail"
    assert verdict.reply_details is not None
    assert verdict.reply_details.startswith("a b [31m ")
    assert len(verdict.reply_details) == 500
    verdict.reply_details.encode()  # no half of a surrogate pair is left


# Bodies that are nearly right are found by mixing right pieces.
_statuses = st.sampled_from([row[0] for row in ROWS]) | st.text(max_size=10)
_details = st.sampled_from([row[1] for row in ROWS]) | st.text(max_size=40)
_names = st.sampled_from(["status", "details", "message", "Status", " details"]) | st.text(max_size=8)
_values = st.none() | st.booleans() | st.integers() | st.floats() | _statuses | _details
_json = st.dictionaries(_names, _values | st.lists(_values, max_size=2), max_size=5).map(json.dumps).map(str.encode)
_bodies = st.binary(max_size=60) | _json | st.tuples(_json, st.integers(0, 80)).map(lambda cut: cut[0][: cut[1]])


def fold(text: object) -> str:
    """As people would compare two wordings."""
    return " ".join(str(text).lower().split()).rstrip(". ")


KNOWN_SUCCESSES = {fold(details) for status, details, outcome in ROWS if Outcome(outcome) in SUCCESSES}


@given(body=_bodies, http_status=st.integers(-1, 1000), too_large=st.booleans())
@example(body=b'{"status":"Success","status":"Fail","details":"queued successfully"}', http_status=200, too_large=False)
def test_no_reply_breaks_it_and_none_is_guessed_to_be_a_success(body: bytes, http_status: int, too_large: bool) -> None:
    verdict = classify(Answer(http_status, body, too_large=too_large))
    for text in (verdict.reply_status, verdict.reply_details):
        assert text is None or (len(text) <= 500 and "\x00" not in text and text.encode() is not None)
    if verdict.delivered:
        assert 200 <= http_status < 300
        assert not too_large
        parsed = {key.strip().lower(): value for key, value in json.loads(body.decode("utf-8-sig")).items()}
        assert fold(parsed["status"]) == "success"
        assert KNOWN_SUCCESSES & {fold(parsed.get("details")), fold(parsed.get("message"))}
