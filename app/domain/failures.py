"""Failures: what has to be mended, whose it is, and the next step.

Failed dispositions that one correction would mend are one *failure*: two thousand with three things wrong are three.
What makes them one is the account, the cause, and the *thing* to fix with its value: the agent ``x7``, say.
The database sorts them as they fail (``docs/decisions/0011-failures-are-kept-in-groups.md``); this says what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.domain.lifecycle import Cause
from app.domain.replies import REMEDIES, Outcome, Remedy


class Owner(StrEnum):
    """Who can mend it."""

    DATA = "data"  # the CRM, or whoever keeps its users and codes
    CREDENTIALS = "credentials"  # whoever has the account's apiKey
    CLOUDAGENT = "cloudagent"  # CloudAgent, or the way to it
    WRAPUP = "wrapup"  # us


class Thing(StrEnum):
    """What there is to fix. Where it is a field of the disposition, it has the field's name."""

    AGENT = "agent_id"
    DID = "did"
    CODE = "disposition"
    TIME_ZONE = "callback_time_zone"
    REPLY = "reply"  # CloudAgent's words, without the numbers in them
    OUTCOME = "outcome"  # of the last attempt
    HOLD = "hold"  # its cause
    ACCOUNT = "account"


THINGS: Mapping[str, Thing] = {
    Outcome.INVALID_AGENT: Thing.AGENT,
    Outcome.INVALID_CALL: Thing.DID,
    Outcome.EMPTY_DISPOSITION: Thing.CODE,
    Outcome.INVALID_CALLBACK_TIME: Thing.TIME_ZONE,
    Outcome.REFUSED: Thing.REPLY,
    Cause.ATTEMPTS_EXHAUSTED: Thing.OUTCOME,
    Cause.EXPIRED: Thing.OUTCOME,  # or the hold under which it expired
}
"""By cause; for all others it is the account as a whole."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What failed: the cause, and what to fix with its value, in one account."""

    account: str
    cause: str
    thing: Thing
    value: str


@dataclass(frozen=True, slots=True)
class Advice:
    """Whose it is, and one plain sentence with the next step."""

    owner: Owner
    hint: str


_DATA: Mapping[str, str] = {
    Outcome.INVALID_AGENT: "Agent '{value}' does not exist in CloudAgent's account '{account}': correct the CRM's "
    "table of users, then resend these with the right agent.",
    Outcome.INVALID_CALL: "CloudAgent does not know these calls with the DID {value}: check that the CRM sends the "
    "UCID (not the monitorUCID), the DID that dialled, and the account of the call, then resend them corrected.",
    Outcome.EMPTY_DISPOSITION: "CloudAgent does not take '{value}' as a disposition code: add it to the campaign and "
    "retry these, or resend them with a code that the campaign has.",
    Outcome.INVALID_CALLBACK_TIME: "CloudAgent refused the call-back time in both of its formats (time zone: {value}): "
    "check that it is not in the past, then resend these with a time and a zone that CloudAgent knows.",
    Outcome.PAUSE_REASON_MISSING: "The account '{account}' must give a reason for a pause: resend these with "
    "pause_reason, or without pause_after_dispose.",
    Outcome.ALREADY_DISPOSED: "These calls had a disposition already, and the account '{account}' can't change one: "
    "check them in CloudAgent; if they are right, nothing is to be done.",
    Outcome.CALLBACK_PASSED: "The call-back time of these had passed before they could be delivered, and the account "
    "'{account}' wants to look first: retry those that still make sense, or resend them with another time.",
    Outcome.REFUSED: "CloudAgent refused these in words that Wrapup does not know: “{value}”. Read them, correct what "
    "they name, then resend; and tell Wrapup's developers, so that the words get a name.",
}

_WAITED = {
    Cause.ATTEMPTS_EXHAUSTED: "All tries are used up",
    Cause.EXPIRED: "The maximum age has passed",
}


def advise(trouble: Trouble) -> Advice:
    """Whose a failure is, and what to do next."""
    cause, account, value = trouble.cause, trouble.account, trouble.value
    if cause in _DATA:
        return Advice(Owner.DATA, _DATA[Outcome(cause)].format(account=account, value=value or "not given"))
    if cause == Outcome.INVALID_ACTION:
        hint = "CloudAgent did not take action=set, and Wrapup sends nothing else: report it to Wrapup's developers."
        return Advice(Owner.WRAPUP, hint)
    if cause in _WAITED:
        return _advise_late(trouble, _WAITED[Cause(cause)])
    hint = f"Wrapup has no advice for the cause '{cause}': look at one of these, and report it to Wrapup's developers."
    return Advice(Owner.WRAPUP, hint)


def _advise_late(trouble: Trouble, ended: str) -> Advice:
    """For what was given up because it took too long."""
    account, value = trouble.account, trouble.value
    if trouble.thing is Thing.HOLD:
        held = advise_hold(account, value)
        if held.owner is Owner.CREDENTIALS:
            hint = (
                f"{ended} while the account '{account}' was on hold ({value}): mend and release it, then retry these."
            )
            return Advice(Owner.CREDENTIALS, hint)
        hint = f"{ended} while the account '{account}' was on hold ({value}): release it, then retry these."
        return Advice(held.owner, hint)
    remedy = REMEDIES.get(Outcome(value)) if value in set(Outcome) else None
    if remedy is Remedy.FIX_ACCOUNT:
        hint = f"{ended}; the last answer was {value}: mend the account '{account}', then retry these."
        return Advice(Owner.CREDENTIALS, hint)
    if remedy is None:
        hint = (
            f"{ended} before anything was sent: look at the limits of the account '{account}' and whether workers run "
            "(`wrapup doctor`), then retry these."
        )
        return Advice(Owner.WRAPUP, hint)
    if value == Outcome.UNKNOWN:
        hint = f"{ended}; workers were lost while they sent these: find out why (`wrapup doctor`), then retry them."
        return Advice(Owner.WRAPUP, hint)
    hint = f"{ended}; the last outcome was {value}: ask CloudAgent what was wrong, then retry these."
    return Advice(Owner.CLOUDAGENT, hint)


def advise_hold(account: str, cause: str) -> Advice:
    """Whose a hold is, and how it ends."""
    if cause == Outcome.AUTHENTICATION_FAILED:
        hint = (
            f"CloudAgent refuses the credentials of '{account}': get the right apiKey and set it. That lifts the hold, "
            "and what waits goes out by itself."
        )
        return Advice(Owner.CREDENTIALS, hint)
    if cause == Outcome.MISCONFIGURED:
        hint = (
            f"Nothing of CloudAgent's answers at the address of '{account}': set its base URL or path. That lifts the "
            "hold, and what waits goes out by itself."
        )
        return Advice(Owner.CREDENTIALS, hint)
    if cause == "operator":
        return Advice(Owner.WRAPUP, f"Somebody held '{account}': when the reason is gone, release it.")
    hint = f"CloudAgent does not answer for '{account}' ({cause}): it is tried again by itself; ask CloudAgent."
    return Advice(Owner.CLOUDAGENT, hint)


def advise_no_answer(account: str) -> Advice:
    """Whose it is that CloudAgent answers an account badly or not at all, so that one call at a time is tried."""
    hint = (
        f"CloudAgent does not answer for '{account}', or not properly. One call is tried now and then; when it is "
        "answered, the others follow by themselves. Test the account: if its address is right, ask CloudAgent."
    )
    return Advice(Owner.CLOUDAGENT, hint)
