"""A disposition as a caller asks for it: which fields there are, and what a request of them comes to.

`FIELDS` is the one table of names, CloudAgent's aliases and rules (these are in ``fields.py``). White space
around a text is dropped, and what is empty or null then counts as absent. The value of a field that is not in
the table is never shown: it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

from app.domain import fields as rules
from app.domain.callback_time import DEFAULT_ZONE, parse_callback_time, time_zone
from app.domain.errors import Fault, InvalidInput
from app.domain.refusals import shortened

MAX_ENCODED_BYTES = 6000
"""Of all texts sent to CloudAgent, percent-encoded: they travel in a URL, and servers take about 8 kB."""

_MOST_UNKNOWN_NAMED = 10
"""Unknown fields that are reported one by one, so that thousands of them cost no more than ten."""


@dataclass(frozen=True, slots=True)
class NewDisposition:
    """A disposition that a caller asks for, checked. An absent text is None, never empty."""

    account: str
    ucid: str
    did: str  # as given, with its + if it had one
    agent_id: str
    disposition: str
    comments: str | None
    callback_time: datetime | None  # naive: wall time in callback_time_zone, to the second
    callback_time_zone: str | None  # IANA name; always there when callback_time is
    pause_after_dispose: bool
    pause_reason: str | None
    occurred_at: datetime | None  # aware, UTC
    max_age: timedelta | None
    reference: str | None


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a request, under its own name or under CloudAgent's."""

    name: str
    rule: Callable[[str, object], object]
    alias: str | None = None
    required: str | None = None  # what it is, said when it is missing
    sent_as_text: bool = False  # counts for `MAX_ENCODED_BYTES`


FIELDS: tuple[Field, ...] = (
    Field("account", rules.text(100), "customer", "the CloudAgent user name of the call", sent_as_text=True),
    Field("ucid", rules.ucid, required="the call's UCID from CloudAgent, digits as text"),
    Field("did", rules.did, required="the number from which the call was dialled out"),
    Field("agent_id", rules.text(100), "agentID", "CloudAgent's id of the agent", sent_as_text=True),
    Field("disposition", rules.text(200), required="the outcome code as in CloudAgent", sent_as_text=True),
    Field("comments", rules.text(2000, lines=True), sent_as_text=True),
    Field("action", rules.action),
    Field("callback_time", rules.text(100), "callBackTime"),  # read by _callback, which has the zone
    Field("callback_time_zone", rules.zone, "callBackTimeZone"),
    Field("pause_after_dispose", rules.yes_or_no, "pauseAfterDispose"),
    Field("pause_reason", rules.text(100), "pauseReason", sent_as_text=True),
    Field("occurred_at", rules.instant),
    Field("max_age_seconds", rules.max_age),
    Field("reference", rules.text(200)),
)
"""Every field, in the order in which the missing ones are named."""

_BY_NAME = {name: field for field in FIELDS for name in (field.name, field.alias) if name}
_BY_FOLDED_NAME = {name.replace("_", "").lower(): field for name, field in _BY_NAME.items()}
_REQUIRED = {field.name for field in FIELDS if field.required}
_SENT_AS_TEXT = [field.name for field in FIELDS if field.sent_as_text]


def parse_disposition(fields: Mapping[str, object], *, bound_account: str | None = None) -> NewDisposition:
    """The disposition that ``fields`` ask for. Raises `InvalidInput` with every fault at once.

    ``bound_account`` is the account of a caller that is bound to one: it stands in when none is given.
    Whether the caller may use an account that *is* given is not decided here.
    """
    values: dict[str, Any] = {}  # by the table's name; None where the value was refused
    sent_as: dict[str, str] = {}  # the table's name to the one in this request
    faults: list[Fault] = []
    unknown: list[str] = []
    for name, sent in fields.items():
        field = _BY_NAME.get(name)
        if field is None:
            unknown.append(name)
            continue
        value = sent.strip() if isinstance(sent, str) else sent
        if value is None or value == "":
            continue
        try:
            parsed = field.rule(name, value)
        except InvalidInput as refused:
            faults.extend(refused.faults)
            parsed = None
        other_name = sent_as.setdefault(field.name, name)
        if other_name == name:
            values[field.name] = parsed
        elif None not in (parsed, values[field.name]) and parsed != values[field.name]:
            faults.append(Fault(name, f"{name} differs from {other_name}, its other name; send one of them"))
    if bound_account is not None:
        values.setdefault("account", bound_account)
    if not values.keys() >= _REQUIRED:
        faults.extend(_missing(fields, values))
    if unknown:
        faults.extend(_unknown(unknown))
    zone, moment = _callback(values, sent_as, faults)
    _check_encoded_length(values, sent_as, faults)
    if faults:
        raise InvalidInput(faults)
    return NewDisposition(
        account=values["account"],
        ucid=values["ucid"],
        did=values["did"],
        agent_id=values["agent_id"],
        disposition=values["disposition"],
        comments=values.get("comments"),
        callback_time=moment,
        callback_time_zone=zone,
        pause_after_dispose=values.get("pause_after_dispose", False),
        pause_reason=values.get("pause_reason"),
        occurred_at=values.get("occurred_at"),
        max_age=values.get("max_age_seconds"),
        reference=values.get("reference"),
    )


def fingerprint(disposition: NewDisposition) -> bytes:
    """16 bytes, the same for the same request however it was written: for finding duplicates."""
    wanted = (
        disposition.account,
        disposition.ucid,
        disposition.did,
        disposition.agent_id,
        disposition.disposition,
        disposition.comments or "",
        disposition.callback_time.isoformat() if disposition.callback_time else "",
        disposition.callback_time_zone or "",
        "pause" if disposition.pause_after_dispose else "",
        disposition.pause_reason or "",
        disposition.occurred_at.isoformat() if disposition.occurred_at else "",
        str(disposition.max_age) if disposition.max_age else "",
        disposition.reference or "",
    )
    # No text holds a NUL and none is empty, so no two different requests join to the same bytes.
    return blake2b("\0".join(wanted).encode(), digest_size=16).digest()


def _callback(
    values: Mapping[str, Any], sent_as: Mapping[str, str], faults: list[Fault]
) -> tuple[str | None, datetime | None]:
    """The zone's name and the wall time there. A zone without a time is taken, as CloudAgent takes it."""
    zone, text = values.get("callback_time_zone"), values.get("callback_time")
    if text is None:
        return zone.key if zone else None, None
    zone = zone or time_zone(DEFAULT_ZONE)
    try:
        return zone.key, parse_callback_time(text, zone, field=sent_as["callback_time"])
    except InvalidInput as refused:
        faults.extend(refused.faults)
        return None, None


def _missing(fields: Mapping[str, object], values: Mapping[str, Any]) -> list[Fault]:
    faults = []
    for field in FIELDS:
        if field.required and field.name not in values:
            name = next((name for name in (field.name, field.alias) if name in fields), None)
            how = "is missing" if name is None else "is empty"
            name = name or field.name
            faults.append(Fault(name, f"{name} {how}: {field.required}"))
    return faults


def _unknown(names: list[str]) -> list[Fault]:
    faults = []
    for name in names[:_MOST_UNKNOWN_NAMED]:
        folded = re.sub("[-_ ]", "", name[:50]).lower()
        if folded == "apikey":
            reason = "must not be sent here: it belongs to the account in Wrapup; leave it out"
        elif near := get_close_matches(folded, _BY_FOLDED_NAME, n=1):
            reason = f"is not a field; did you mean {_BY_FOLDED_NAME[near[0]].name}?"
        else:
            reason = f"is not a field; the fields are {', '.join(field.name for field in FIELDS)}"
        faults.append(Fault(shortened(name), f"{shortened(name)} {reason}"))
    if len(names) > _MOST_UNKNOWN_NAMED:
        faults.append(Fault("body", f"{len(names) - _MOST_UNKNOWN_NAMED} more fields are not known"))
    return faults


def _check_encoded_length(values: Mapping[str, Any], sent_as: Mapping[str, str], faults: list[Fault]) -> None:
    texts = {name: text for name in _SENT_AS_TEXT if (text := values.get(name))}
    if sum(map(len, texts.values())) * 12 <= MAX_ENCODED_BYTES:  # a character takes 12 at most: four %XX
        return
    lengths = {name: len(quote(text, safe="")) for name, text in texts.items()}
    total = sum(lengths.values())
    if total > MAX_ENCODED_BYTES:
        longest = max(lengths, key=lambda name: lengths[name])
        name = sent_as.get(longest, longest)
        message = (
            f"{name} is too long for CloudAgent's URL: encoded for it (a Hindi letter takes 9 bytes) "
            f"all texts have {total} bytes, {lengths[longest]} of them from {name}; "
            f"at most {MAX_ENCODED_BYTES} are taken"
        )
        faults.append(Fault(name, message))
