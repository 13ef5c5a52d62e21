"""The stand-in's credentials: keys, and tokens that last an hour, ten an hour, the newest only."""

from __future__ import annotations

import pytest

from app.sandbox.credentials import Gate, Presented
from app.sandbox.replies import Reply
from app.sandbox.state import Account

HOUR = 3600.0


@pytest.fixture
def gate() -> Gate:
    gate = Gate()
    gate.change("acme", {"api_key": "right"})
    return gate


def refusal(gate: Gate, presented: Presented, now: float = 0.0) -> dict[str, object] | None:
    admitted = gate.admit(presented, now)
    return admitted.fields if isinstance(admitted, Reply) else None


def new_token(gate: Gate, now: float = 0.0) -> str:
    return str(gate.generate_token(gate.accounts["acme"], now).reply.fields["token"])


@pytest.mark.parametrize(("customer", "key"), [("acme", "wrong"), ("nobody", "right"), ("", ""), ("acme", "")])
def test_v3_refuses_a_wrong_key_and_a_wrong_user_name_alike(gate: Gate, customer: str, key: str) -> None:
    assert refusal(gate, Presented("key", customer, key)) == {
        "details": "Authentication fails",
        "status": "Fail",
    }


def test_the_right_key_opens_the_account(gate: Gate) -> None:
    admitted = gate.admit(Presented("key", "acme", "right"), 0.0)
    assert isinstance(admitted, Account)
    assert admitted.customer == "acme"


def test_v2_refuses_a_wrong_key_from_its_gateway(gate: Gate) -> None:
    expected = {"status": "false", "message": "Invalid userName or apiKey", "data": None}
    assert refusal(gate, Presented("json_key", "acme", "wrong")) == expected
    assert refusal(gate, Presented("json_key", "nobody", "right")) == expected


def test_v2_says_when_there_is_no_user_name(gate: Gate) -> None:
    assert refusal(gate, Presented("json_key", "", "right")) == {
        "status": "false",
        "message": "UserName is null",
        "data": None,
    }


def test_a_token_opens_its_account_for_an_hour(gate: Gate) -> None:
    presented = Presented("token", "acme", new_token(gate, now=0.0))
    assert refusal(gate, presented, now=HOUR - 1) is None
    assert refusal(gate, presented, now=HOUR) == {"status": "false", "message": "Token Expired", "data": None}


def test_a_new_token_ends_the_one_before(gate: Gate) -> None:
    first, second = new_token(gate), new_token(gate)
    assert refusal(gate, Presented("token", "acme", first)) == {
        "status": "false",
        "message": "Invalid Token",
        "data": None,
    }
    assert refusal(gate, Presented("token", "acme", second)) is None


def test_a_token_does_not_open_another_account(gate: Gate) -> None:
    gate.change("other", {"api_key": "k"})
    refused = refusal(gate, Presented("token", "other", new_token(gate)))
    assert refused is not None
    assert refused["message"] == "Invalid Token"


def test_an_empty_token_is_told_apart(gate: Gate) -> None:
    assert refusal(gate, Presented("token", "acme", "")) == {
        "status": "false",
        "message": "Token Should Not be Null or Empty.",
        "data": None,
    }


def test_the_eleventh_token_of_an_hour_is_refused_and_leaves_the_tenth_alive(gate: Gate) -> None:
    tenth = [new_token(gate, now=float(second)) for second in range(10)][-1]
    account = gate.accounts["acme"]
    assert gate.generate_token(account, now=10.0).reply.fields["message"] == "Max limit exceeded"
    assert refusal(gate, Presented("token", "acme", tenth), now=11.0) is None
    assert gate.generate_token(account, now=HOUR + 0.5).reply.name == "token_granted"


def test_a_new_key_replaces_the_old_one_and_leaves_the_calls(gate: Gate) -> None:
    gate.accounts["acme"].announce("1")
    gate.change("acme", {"api_key": "newer"})
    assert refusal(gate, Presented("key", "acme", "right")) is not None
    assert refusal(gate, Presented("key", "acme", "newer")) is None
    assert "1" in gate.accounts["acme"].calls


def test_a_new_account_needs_a_key(gate: Gate) -> None:
    with pytest.raises(ValueError, match="api_key"):
        gate.change("fresh", {"agents": ["a"]})


def test_credentials_do_not_show_their_secret() -> None:
    assert "hidden" not in repr(Presented("key", "acme", "hidden"))
