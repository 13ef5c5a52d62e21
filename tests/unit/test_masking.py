"""What those see of numbers and notes who may not see all."""

from __future__ import annotations

import pytest

from app.domain.masking import mask_number, masked, masked_order

SHOWN = {"id": "1", "did": "+918012345678", "comments": "pays by card", "agent_id": "a17", "ucid": "1234567890123456"}


@pytest.mark.parametrize(
    ("number", "mask"),
    [
        ("918012345678", "••••••••5678"),
        ("+918012345678", "•••••••••5678"),
        ("12345", "•2345"),
        ("1234", "••••"),
        ("", ""),
    ],
)
def test_a_number_is_told_by_its_end(number: str, mask: str) -> None:
    assert mask_number(number) == mask


def test_a_disposition_keeps_all_but_number_and_notes() -> None:
    assert masked(SHOWN) == {**SHOWN, "did": "•••••••••5678", "comments": "•••"}
    assert SHOWN["comments"] == "pays by card"


def test_that_there_are_no_notes_may_be_seen() -> None:
    assert masked({**SHOWN, "comments": None})["comments"] is None


def test_words_of_its_attempts_don_t_repeat_the_number_and_only_wrapup_s_own_reasons_are_told() -> None:
    whole = {
        **SHOWN,
        "attempts": [{"number": 1, "reply_details": "Invalid DID 918012345678"}, {"number": 2, "reply_details": None}],
        "events": [{"action": "failed", "reason": "invalid_agent"}, {"action": "retried", "reason": "she rang 4711"}],
    }
    shown = masked(whole)
    assert shown["attempts"] == [
        {"number": 1, "reply_details": "Invalid DID ••••••••5678"},
        {"number": 2, "reply_details": None},
    ]
    assert shown["events"] == [
        {"action": "failed", "reason": "invalid_agent"},
        {"action": "retried", "reason": None},  # people write numbers and names into it
    ]
    assert "918012345678" not in str(shown)


def test_what_a_replay_does_shows_no_number_and_not_why() -> None:
    order = {
        "filter": {"did": ["918012345678", "4711"], "q": "said 918012345678", "agent_id": "a17918012345678"},
        "map": {"did": {"918012345678": "911122334455"}, "agent_id": {"x7": "a17"}},
        "reason": "918012345678 rang",
    }
    assert masked_order(order) == {
        "filter": {"did": ["••••••••5678", "••••"], "q": "said ••••••••5678", "agent_id": "a17918012345678"},
        "map": {"did": {"••••••••5678": "••••••••4455"}, "agent_id": {"x7": "a17"}},
        "reason": None,
    }
    assert masked_order({"filter": {"did": "918012345678"}, "map": None}) == {
        "filter": {"did": "••••••••5678"},
        "map": None,
    }
