"""The V3 query: the vendor's names, strictly encoded, and nothing that was not asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cloudagent.credentials import Credentials, SecretQuery
from app.cloudagent.request import DispositionCall, Endpoint
from app.cloudagent.v3_query import build, query
from app.secrets import Secret

CALL = DispositionCall(
    customer="acme",
    ucid="1234567890123456",
    did="918012345678",
    agent_id="a17",
    disposition="Sale",
    request_id="0193f0d0-0000-7000-8000-000000000001",
)
CREDENTIALS = Credentials(Secret("KK0123456789"))


def test_a_plain_disposition_has_the_parameters_that_must_be_there() -> None:
    assert query(CALL) == (
        "customer=acme&did=918012345678&agentID=a17&disposition=Sale&ucid=1234567890123456&action=set"
    )


def test_a_full_disposition_has_the_optional_ones_too() -> None:
    full = replace(
        CALL,
        comments="asked for Priya",
        callback_time=datetime.fromisoformat("2026-12-01T18:00"),
        callback_time_zone="Asia/Kolkata",
        pause_after_dispose=True,
        pause_reason="Lunch",
    )
    assert query(full).removeprefix(query(CALL)) == (
        "&comments=asked%20for%20Priya&callBackTime=2026-12-01%2018%3A00%3A00&callBackTimeZone=Asia%2FKolkata"
        "&pauseAfterDispose=true"
    )


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("Call back", "Call%20back"),
        ("50% + more", "50%25%20%2B%20more"),
        ("a&action=get", "a%26action%3Dget"),
        ("a=b#c?d/e", "a%3Db%23c%3Fd%2Fe"),
        ("line\r\nbreak", "line%0D%0Abreak"),
        ("फिर से कॉल", "%E0%A4%AB%E0%A4%BF%E0%A4%B0%20%E0%A4%B8%E0%A5%87%20%E0%A4%95%E0%A5%89%E0%A4%B2"),
        ("A-Z_a.z~9", "A-Z_a.z~9"),
    ],
)
def test_a_value_is_percent_encoded_strictly(written: str, sent: str) -> None:
    assert f"&disposition={sent}&" in query(replace(CALL, disposition=written))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_arrives_as_it_was_and_changes_no_other_parameter(disposition: str, comments: str) -> None:
    text = query(replace(CALL, disposition=disposition, comments=comments))
    assert text.isascii()
    assert text.isprintable()
    assert parse_qsl(text, keep_blank_values=True, strict_parsing=True) == [
        ("customer", "acme"),
        ("did", "918012345678"),
        ("agentID", "a17"),
        ("disposition", disposition),
        ("ucid", "1234567890123456"),
        ("action", "set"),
        ("comments", comments),
    ]


def test_a_zone_without_a_time_is_left_out() -> None:
    assert query(replace(CALL, callback_time_zone="Asia/Kolkata")) == query(CALL)


@pytest.mark.parametrize(
    ("base_url", "path", "target"),
    [
        ("https://in1-ccaas-api.ozonetel.com", None, b"/CAServices/Disposition/DispositionAPIV3.php?"),
        ("https://in1-ccaas-api.ozonetel.com/", None, b"/CAServices/Disposition/DispositionAPIV3.php?"),
        ("https://partner.example/prefix", None, b"/prefix/CAServices/Disposition/DispositionAPIV3.php?"),
        ("https://partner.example", "/v3.php", b"/v3.php?"),
    ],
)
def test_the_path_is_the_documented_one_unless_the_account_has_its_own(
    base_url: str, path: str | None, target: bytes
) -> None:
    request = build(Endpoint(base_url, "v3-query", path), CREDENTIALS, CALL)
    assert request.method == "GET"
    assert request.extensions["target"] == target + query(CALL).encode()


def test_the_key_and_the_query_travel_beside_the_url() -> None:
    request = build(Endpoint("https://in1-ccaas-api.ozonetel.com", "v3-query"), CREDENTIALS, CALL)
    assert request.extensions["wrapup.secret"] == SecretQuery("apiKey", CREDENTIALS.api_key)
    assert str(request.url) == "https://in1-ccaas-api.ozonetel.com/CAServices/Disposition/DispositionAPIV3.php"
    assert dict(request.headers) == {
        "host": "in1-ccaas-api.ozonetel.com",
        "user-agent": "wrapup",
        "accept": "application/json",
        "accept-encoding": "identity",
        "x-request-id": CALL.request_id,
    }
