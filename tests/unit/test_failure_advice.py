"""Whose a failure is, and what its hint says: for each cause and each hold there is a next step."""

from __future__ import annotations

import pytest

from app.domain.failures import THINGS, Owner, Thing, Trouble, advise, advise_hold
from app.domain.lifecycle import Cause
from app.domain.replies import REMEDIES, Outcome, Remedy

FINAL = [outcome for outcome, remedy in REMEDIES.items() if remedy in (Remedy.FIX_DATA, Remedy.OTHER_FORMAT)]


def trouble(cause: str, value: str, thing: Thing | None = None) -> Trouble:
    return Trouble("acme", cause, thing or THINGS.get(cause, Thing.ACCOUNT), value)


@pytest.mark.parametrize("cause", [*FINAL, *Cause])
def test_each_cause_of_a_failure_has_an_owner_and_a_whole_sentence(cause: str) -> None:
    for value in ("x7", ""):
        advice = advise(trouble(cause, value))
        assert advice.hint.endswith(".")
        assert "no advice" not in advice.hint
        assert "''" not in advice.hint
        assert "{" not in advice.hint


@pytest.mark.parametrize("cause", FINAL)
def test_what_is_wrong_with_the_data_is_the_sender_s_to_mend(cause: str) -> None:
    owner = advise(trouble(cause, "x7")).owner
    assert owner is (Owner.WRAPUP if cause == Outcome.INVALID_ACTION else Owner.DATA)


@pytest.mark.parametrize(
    ("cause", "value", "thing", "owner"),
    [
        (Cause.ATTEMPTS_EXHAUSTED, "no_reply", Thing.OUTCOME, Owner.CLOUDAGENT),
        (Cause.ATTEMPTS_EXHAUSTED, "unknown", Thing.OUTCOME, Owner.WRAPUP),
        (Cause.EXPIRED, "", Thing.OUTCOME, Owner.WRAPUP),
        (Cause.EXPIRED, "authentication_failed", Thing.OUTCOME, Owner.CREDENTIALS),
        (Cause.EXPIRED, "authentication_failed", Thing.HOLD, Owner.CREDENTIALS),
        (Cause.EXPIRED, "operator", Thing.HOLD, Owner.WRAPUP),
        (Cause.EXPIRED, "unreachable", Thing.HOLD, Owner.CLOUDAGENT),
        ("typed by hand", "", Thing.ACCOUNT, Owner.WRAPUP),
    ],
)
def test_what_was_given_up_is_whoever_s_made_it_wait(cause: str, value: str, thing: Thing, owner: Owner) -> None:
    assert advise(trouble(cause, value, thing)).owner is owner


def test_a_value_stands_in_the_hint_as_it_is() -> None:
    assert "'{account}'" in advise(trouble(Outcome.INVALID_AGENT, "{account}")).hint


def test_a_hold_by_credentials_says_what_lifts_it() -> None:
    advice = advise_hold("acme", Outcome.AUTHENTICATION_FAILED)
    assert advice.owner is Owner.CREDENTIALS
    assert "apiKey" in advice.hint
    assert "lifts the hold" in advice.hint
