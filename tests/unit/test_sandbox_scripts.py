"""Fault scripts: how steps are written, and which one answers which request."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest

from app.sandbox import magic
from app.sandbox.faults import DECORATIONS, FAULTS, parse_script, parse_step
from app.sandbox.latency import Latency, parse_duration
from app.sandbox.replies import SAVED
from app.sandbox.rules import Asked
from app.sandbox.scripts import Mix, Scripts
from app.sandbox.state import Account

ACCOUNT = Account("acme", "key")


def about(ucid: str, disposition: str = "Sale", customer: str = "acme") -> Asked:
    return Asked.read({"customer": customer, "ucid": ucid, "disposition": disposition})


def played(scripts: Scripts, ucid: str = "1", times: int = 1, **asked: str) -> list[str]:
    return [scripts.step("v3", ACCOUNT, about(ucid, **asked))[0].text for _ in range(times)]


def test_every_name_is_a_step() -> None:
    for name in ["ok", *FAULTS, *DECORATIONS]:
        assert parse_step(name).text == ("" if name == "ok" else name)


def test_a_step_joins_a_fault_and_a_latency() -> None:
    step = parse_step("503:7+latency:1s")
    assert step.fault is FAULTS["503"]
    assert step.argument == "7"
    assert step.latency == Latency(1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("503x", "503x"),
        ("", "''"),
        ("503+429", "can't both happen"),
        ("html+bom", "never sends"),
        ("hang:5", "takes nothing"),
        ("slow_drip:fast", "duration"),
        ("huge:lots", "MiB"),
        ("ok:1", "ok"),
        ("latency:5", "duration"),
        ("429:1\r\nx: y", "printable"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_step(text)


def test_a_script_is_a_list_or_a_text_with_commas() -> None:
    as_text = [step.text for step in parse_script("503:2, ok ,hang*2")]
    assert as_text == [step.text for step in parse_script(["503:2", "ok", "hang*2"])]
    assert as_text == ["503:2", "", "hang", "hang"]


def test_a_calls_script_is_played_once_and_then_all_goes_right() -> None:
    scripts = Scripts()
    scripts.call("1", ["reset_after", "503"])
    assert played(scripts, "2") == [""]
    assert played(scripts, "1", times=4) == ["reset_after", "503", "", ""]


def test_a_step_with_a_star_is_played_for_ever() -> None:
    scripts = Scripts()
    scripts.call("1", "503,error*")
    assert played(scripts, times=4) == ["503", "error", "error", "error"]


def test_next_steps_go_to_calls_without_a_script_of_their_own() -> None:
    scripts = Scripts()
    scripts.call("1", ["hang"])
    scripts.next("503,429")
    assert played(scripts, "1") == ["hang"]
    assert played(scripts, "2") == ["503"]
    assert played(scripts, "1") == ["429"]


def test_the_token_endpoint_has_a_script_of_its_own() -> None:
    scripts = Scripts()
    scripts.token("401")
    assert played(scripts) == [""]
    assert scripts.step("token", ACCOUNT, about(""))[0].text == "401"


def test_the_same_seed_gives_each_call_the_same_faults_in_whatever_order_they_arrive() -> None:
    def faults(order: list[str]) -> dict[str, list[str]]:
        scripts = Scripts(seed=7)
        scripts.play("503=30,reset_after=30")
        seen: dict[str, list[str]] = {}
        for ucid in order:
            seen.setdefault(ucid, []).extend(played(scripts, ucid))
        return seen

    order = [str(ucid) for ucid in range(50)] * 3
    assert faults(order) == faults(sorted(order))


def test_a_mix_has_the_shares_that_it_was_given() -> None:
    scripts = Scripts(seed=1)
    scripts.play("503=20,hang=5")
    drawn = Counter(played(scripts, str(ucid))[0] for ucid in range(4000))
    assert 700 < drawn["503"] < 900
    assert 150 < drawn["hang"] < 250


@pytest.mark.parametrize("text", ["503", "503=", "503=many", "503=60,hang=60", "503=-1", "nothing=5"])
def test_a_mix_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"per cent|not a fault"):
        Mix.parse(text)


def test_an_account_may_behave_worse_than_the_server() -> None:
    scripts = Scripts()
    scripts.configure({"latency": "5ms"})
    scripts.account("slow", {"mix": "hang=100", "latency": "1s"})
    assert [
        (step.text, latency)
        for step, latency in (
            scripts.step("v3", ACCOUNT, about("1")),
            scripts.step("v3", ACCOUNT, about("1", customer="slow")),
        )
    ] == [("", 0.005), ("hang", 1.0)]


def test_the_latency_of_a_step_goes_before_that_of_the_server() -> None:
    scripts = Scripts()
    scripts.configure({"latency": "5ms-20ms"})
    scripts.call("1", ["ok+latency:1s"])
    assert scripts.step("v3", ACCOUNT, about("1"))[1] == 1.0
    assert 0.005 <= scripts.step("v3", ACCOUNT, about("1"))[1] <= 0.02


def test_clearing_ends_everything_that_goes_wrong() -> None:
    scripts = Scripts()
    scripts.play("503=100")
    scripts.account("acme", {"mix": "hang=100"})
    scripts.call("1", "error*")
    scripts.next("404")
    scripts.clear()
    assert played(scripts, times=3) == ["", "", ""]


def test_magic_codes_play_their_script_once_for_each_call() -> None:
    scripts = Scripts()
    assert played(scripts, "1", times=3, disposition="retry-twice") == ["error", "error", ""]
    assert played(scripts, "2", times=3, disposition="retry-twice") == ["error", "error", ""]
    assert played(scripts, "1", disposition="Sale") == [""]


def test_every_magic_code_is_a_script() -> None:
    for script in magic.CODES.values():
        assert parse_script(script)


def test_every_decoration_keeps_what_the_answer_says() -> None:
    for name in DECORATIONS:
        page = parse_step(name).page(SAVED)
        members = orjson.loads(page.body.removeprefix(b"\xef\xbb\xbf"))
        by_name = {key.lower(): value for key, value in members.items()}
        details = by_name.get("details") or by_name["message"]
        assert " ".join(details.lower().split()) == "disposition saved successfully"
        assert by_name["status"].strip().lower() == "success"


def test_durations_are_written_with_a_unit() -> None:
    assert [parse_duration(text) for text in ("250ms", "1.5s", "2m")] == [0.25, 1.5, 120.0]
    with pytest.raises(ValueError, match="ends before"):
        Latency.parse("20ms-5ms")
