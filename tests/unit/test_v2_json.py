"""V2's JSON: the vendor's names, the secret in a header, and nothing that was not asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cloudagent.credentials import Credentials, SecretHeader
from app.cloudagent.request import DispositionCall, Endpoint
from app.cloudagent.v2_json import body, build_with_key
from app.domain.callback_time import CallbackFormat
from app.secrets import Secret

CALL = DispositionCall(
    customer="acme",
    ucid="1234567890123456",
    did="918012345678",
    agent_id="a17",
    disposition="Sale",
    request_id="0193f0d0-0000-7000-8000-000000000001",
)
PLAIN = {
    "userName": "acme",
    "action": "set",
    "ucid": "1234567890123456",
    "did": "918012345678",
    "agentID": "a17",
    "disposition": "Sale",
}
CREDENTIALS = Credentials(Secret("KK0123456789"))
ENDPOINT = Endpoint("https://in1-ccaas-api.ozonetel.com", "v2-json-key")


def test_a_plain_disposition_has_the_members_that_must_be_there() -> None:
    assert json.loads(body(CALL)) == PLAIN


def test_a_full_disposition_has_the_optional_ones_too_all_of_them_texts() -> None:
    full = replace(
        CALL,
        comments="asked for Priya",
        callback_time=datetime.fromisoformat("2026-12-01T18:00:59"),
        callback_time_zone="Asia/Kolkata",
        pause_after_dispose=True,
        pause_reason="Lunch",
    )
    assert json.loads(body(full)) == PLAIN | {
        "comments": "asked for Priya",
        "callBackTime": "2026-12-01 18:00",
        "pauseAfterDispose": "true",
        "pauseReason": "Lunch",
    }


def test_a_reason_without_a_pause_is_left_out() -> None:
    assert json.loads(body(replace(CALL, pause_reason="Lunch"))) == PLAIN


@pytest.mark.parametrize(
    ("zone", "there"), [(None, "18:00"), ("Asia/Kolkata", "18:00"), ("UTC", "23:30"), ("Asia/Dubai", "19:30")]
)
def test_a_call_back_time_goes_in_cloudagents_default_zone(zone: str | None, there: str) -> None:
    call = replace(CALL, callback_time=datetime.fromisoformat("2026-12-01T18:00"), callback_time_zone=zone)
    assert json.loads(body(call))["callBackTime"] == f"2026-12-01 {there}"


def test_an_account_that_learned_another_format_from_v3_sends_v2s_own() -> None:
    call = replace(CALL, callback_time=datetime.fromisoformat("2026-12-01T18:00"), callback_format=CallbackFormat.MDY)
    assert json.loads(body(call))["callBackTime"] == "2026-12-01 18:00"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_arrives_as_it_was_and_changes_no_other_member(disposition: str, comments: str) -> None:
    sent = json.loads(body(replace(CALL, disposition=disposition, comments=comments)))
    assert sent == PLAIN | {"disposition": disposition, "comments": comments}


def test_the_key_goes_into_a_header_and_travels_beside_the_request() -> None:
    request = build_with_key(ENDPOINT, CREDENTIALS, CALL)
    assert request.method == "POST"
    assert request.extensions["wrapup.secret"] == SecretHeader("apiKey", CREDENTIALS.api_key)
    assert str(request.url) == "https://in1-ccaas-api.ozonetel.com/ca_apis/dispositionAPIV2"
    assert dict(request.headers) == {
        "host": "in1-ccaas-api.ozonetel.com",
        "user-agent": "wrapup",
        "accept": "application/json",
        "accept-encoding": "identity",
        "x-request-id": CALL.request_id,
        "content-type": "application/json",
        "content-length": str(len(body(CALL))),
    }


def test_the_path_is_the_documented_one_unless_the_account_has_its_own() -> None:
    request = build_with_key(replace(ENDPOINT, path="/v2"), CREDENTIALS, CALL)
    assert request.url.path == "/v2"
