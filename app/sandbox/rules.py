"""When CloudAgent says what: the order of its checks, and what a request that passes them changes.

The vendor documents the replies and not their order. This is the order here, first failure wins:

1. credentials; then the account's own limit of requests
2. action (V2's `get` ends here, with the list of codes)
3. disposition code
4. length of the UCID: 20 or more characters get the transient wording of `RETRY_LATER` (the trap)
5. UCID and DID
6. agent
7. V3: format of the call-back time. V2: reason to pause, then whether the call is disposed already

What passes is queued while the call is going on, and otherwise saved, or "updated" when it brings the
call-back time or zone that the call's disposition lacked so far (V3; V2 sets a disposition once).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from app.sandbox import replies
from app.sandbox.replies import Reply
from app.sandbox.state import Account, Call, Disposition

MAX_UCID_LENGTH = 19

_CALLBACK_PATTERNS = {
    "ymd": (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "%Y-%m-%d %H:%M:%S"),
    "mdy": (re.compile(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d"), "%m/%d/%Y %H:%M:%S"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request about a call, read from the query (V3) or the JSON body (V2)."""

    customer: str
    action: str
    ucid: str
    did: str
    wanted: Disposition

    @classmethod
    def read(cls, parameters: Mapping[str, str], request_id: str = "") -> Asked:
        """From the vendor's parameter names; V2 calls the customer `userName`."""
        get = parameters.get
        return cls(
            customer=get("customer") or get("userName", ""),
            action=get("action", ""),
            ucid=get("ucid", ""),
            did=get("did", ""),
            wanted=Disposition(
                agent_id=get("agentID", ""),
                disposition=get("disposition", ""),
                comments=get("comments", ""),
                callback_time=get("callBackTime", ""),
                callback_time_zone=get("callBackTimeZone", ""),
                pause_after_dispose=get("pauseAfterDispose", "").strip().lower() == "true",
                pause_reason=get("pauseReason", ""),
                request_id=request_id,
            ),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """CloudAgent's reply, and whether the request changed what the call holds (or will hold at its end)."""

    reply: Reply
    applied: bool = False


Check = Callable[[Account, Asked], Reply | None]


def _action(_: Account, asked: Asked) -> Reply | None:
    return None if asked.action.lower() == "set" else replies.INVALID_ACTION.about(action=asked.action)


def _disposition_code(_: Account, asked: Asked) -> Reply | None:
    return None if asked.wanted.disposition.strip() else replies.EMPTY_DISPOSITION


def _ucid_length(_: Account, asked: Asked) -> Reply | None:
    return None if len(asked.ucid) <= MAX_UCID_LENGTH else replies.RETRY_LATER


def _known_call(account: Account, asked: Asked) -> Reply | None:
    if account.find_call(asked.ucid, asked.did) is not None:
        return None
    return replies.INVALID_CALL.about(ucid=asked.ucid, did=asked.did)


def _known_agent(account: Account, asked: Asked) -> Reply | None:
    return None if account.knows_agent(asked.wanted.agent_id) else replies.INVALID_AGENT


def _callback_time(account: Account, asked: Asked) -> Reply | None:
    text = asked.wanted.callback_time
    if not text or any(_is_time(text, name) for name in account.callback_formats):
        return None
    return replies.INVALID_CALLBACK_TIME


def _is_time(text: str, format_name: str) -> bool:
    pattern, directives = _CALLBACK_PATTERNS[format_name]
    if pattern.fullmatch(text) is None:
        return False
    try:
        datetime.strptime(text, directives)  # noqa: DTZ007  only asked whether that date exists
    except ValueError:
        return False
    return True


def _pause_reason(_: Account, asked: Asked) -> Reply | None:
    missing = asked.wanted.pause_after_dispose and not asked.wanted.pause_reason.strip()
    return replies.PAUSE_REASON if missing else None


def _not_disposed_yet(account: Account, asked: Asked) -> Reply | None:
    call = account.calls[asked.ucid]
    return None if call.held is None and call.queued is None else replies.ALREADY_DISPOSED


_BOTH: tuple[Check, ...] = (_action, _disposition_code, _ucid_length, _known_call, _known_agent)
V3_CHECKS: tuple[Check, ...] = (*_BOTH, _callback_time)
V2_CHECKS: tuple[Check, ...] = (*_BOTH, _pause_reason, _not_disposed_yet)


def dispose_v3(account: Account, asked: Asked, now: float) -> Verdict:
    """V3: sets a disposition, or overwrites the one that the call has."""
    if not account.requests.take(now):
        return Verdict(replies.MAX_LIMIT)
    if refusal := _first_refusal(V3_CHECKS, account, asked):
        return Verdict(refusal)
    call = account.calls[asked.ucid]
    before = call.held
    if _apply(call, asked.wanted):
        return Verdict(replies.QUEUED, applied=True)
    return Verdict(_saved_or_updated(before, asked.wanted), applied=True)


def dispose_v2(account: Account, asked: Asked, now: float) -> Verdict:
    """V2: lists the codes, or sets a disposition once."""
    if not account.requests.take(now):
        return Verdict(replies.MAX_LIMIT)
    if asked.action.lower() == "get":
        return Verdict(replies.codes_listed(account.codes))
    if refusal := _first_refusal(V2_CHECKS, account, asked):
        return Verdict(refusal)
    queued = _apply(account.calls[asked.ucid], asked.wanted)
    return Verdict(replies.V2_QUEUED if queued else replies.V2_SAVED, applied=True)


def _first_refusal(checks: tuple[Check, ...], account: Account, asked: Asked) -> Reply | None:
    return next((refusal for check in checks if (refusal := check(account, asked))), None)


def _apply(call: Call, wanted: Disposition) -> bool:
    """Writes the disposition; True if it is queued until the call ends."""
    call.writes += 1
    if call.ongoing:
        call.queued = wanted
    else:
        call.held = wanted
    return call.ongoing


def _saved_or_updated(before: Disposition | None, after: Disposition) -> Reply:
    if before is not None and after.callback_time and not before.callback_time:
        return replies.UPDATED_TIME
    if before is not None and after.callback_time_zone and not before.callback_time_zone:
        return replies.UPDATED_ZONE
    return replies.SAVED
