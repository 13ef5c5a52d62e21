"""Masking: what those may see of a customer's number and an agent's notes who may not see all.

A customer's number is a person's; so are the notes of a talk with them. Who the role does not allow to see them sees
that they are there, and the last digits, to tell one from another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.domain.failures import Thing
from app.domain.lifecycle import Cause
from app.domain.replies import Outcome

SHOWN_DIGITS = 4
"""Of a number, at its end."""

_DOT = "•"
_HIDDEN = _DOT * 3

_NUMBER = re.compile(r"[0-9]{5,}")

_KNOWN_REASONS = frozenset[str]({*Outcome, *Cause})
"""Reasons that Wrapup gives. All others people wrote, and they write numbers and names into them."""


def mask_number(number: str) -> str:
    """A phone number by its last four digits; a short one not at all."""
    hidden = max(len(number) - SHOWN_DIGITS, 0)
    return _DOT * len(number) if hidden == 0 else _DOT * hidden + number[-SHOWN_DIGITS:]


def masked(disposition: Mapping[str, Any]) -> dict[str, Any]:
    """A disposition as the contract shows it, summary or whole, without what its masked fields would tell."""
    shown = dict(disposition)
    number = str(shown["did"]).removeprefix("+")
    shown["did"] = mask_number(str(shown["did"]))
    if shown["comments"]:
        shown["comments"] = _HIDDEN
    if "attempts" in shown:
        shown["attempts"] = [_without(number, attempt) for attempt in shown["attempts"]]
    if "events" in shown:
        shown["events"] = [
            event if event["reason"] in _KNOWN_REASONS else {**event, "reason": None} for event in shown["events"]
        ]
    return shown


def masked_failure(failure: Mapping[str, Any]) -> dict[str, Any]:
    """A failure as the API shows it, without a number that is what there is to fix, and without what people noted."""
    failure = {**failure, "note": None}
    if failure["thing"] != Thing.DID:
        return failure
    number = str(failure["value"]).removeprefix("+")
    hidden = mask_number(number)
    return {
        name: value.replace(number, hidden) if number and name in ("value", "hint", "reply") and value else value
        for name, value in failure.items()
    }


def masked_order(order: Mapping[str, Any]) -> dict[str, Any]:
    """What a replay does, without numbers in its filter and map, and without why: people write numbers into it.

    What is searched for may be a number too; so is a UCID, which then shows as little.
    """
    shown = dict(order)
    shown["filter"] = {name: _masked_condition(name, value) for name, value in order["filter"].items()}
    if "did" in (order.get("map") or {}):
        corrected = {mask_number(wrong): mask_number(right) for wrong, right in order["map"]["did"].items()}
        shown["map"] = {**order["map"], "did": corrected}
    if shown.get("reason"):
        shown["reason"] = None
    return shown


def _masked_condition(name: str, value: Any) -> Any:
    if name not in ("did", "q"):
        return value
    if isinstance(value, str):
        return mask_number(value) if name == "did" else _NUMBER.sub(lambda found: mask_number(found[0]), value)
    return [_masked_condition(name, one) for one in value]


def _without(number: str, attempt: Mapping[str, Any]) -> dict[str, Any]:
    """An attempt whose reply does not repeat the number."""
    said = attempt["reply_details"]
    return {**attempt, "reply_details": said and said.replace(number, mask_number(number))}
