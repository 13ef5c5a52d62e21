"""What the pages call things: plain words for states, outcomes and holds, for people who run a floor."""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.domain.corrections import MAPPABLE
from app.domain.lane import Doubt
from app.domain.lifecycle import Cause, State
from app.domain.replays import Action, ReplayState, Result
from app.domain.replies import REMEDIES, Certainty, Outcome, Remedy
from app.domain.schedules import Overlap, RunState
from app.services import trials

STATES: Mapping[str, str] = {
    State.QUEUED: "Waits for its first attempt",
    State.SENDING: "Is being sent to CloudAgent now",
    State.RETRYING: "Waits to be tried again",
    State.HELD: "Waits because its account is on hold",
    State.DELIVERED: "CloudAgent has it",
    State.FAILED: "Not delivered, and not tried again by itself",
    State.SUPERSEDED: "A newer one of the same call took its place",
    State.CANCELLED: "Taken back by a person",
}

OUTCOMES: Mapping[str, str] = {
    Outcome.SAVED: "Saved",
    Outcome.QUEUED_UPSTREAM: "Queued in CloudAgent",
    Outcome.UPDATED: "Updated",
    Outcome.CONFIRMED_BY_CONFLICT: "Was there already",
    Outcome.AUTHENTICATION_FAILED: "Credentials refused",
    Outcome.MISCONFIGURED: "Wrong address of CloudAgent",
    Outcome.INVALID_CALL: "Call not known",
    Outcome.INVALID_ACTION: "Action not taken",
    Outcome.EMPTY_DISPOSITION: "Disposition code not taken",
    Outcome.INVALID_AGENT: "Agent not known",
    Outcome.INVALID_CALLBACK_TIME: "Call-back time not taken",
    Outcome.PAUSE_REASON_MISSING: "Pause reason missing",
    Outcome.ALREADY_DISPOSED: "Disposed by somebody else",
    Outcome.REFUSED: "Refused, in words that are not known",
    Outcome.RETRY_LATER: "CloudAgent asks to try later",
    Outcome.RATE_LIMITED: "Too many calls for CloudAgent",
    Outcome.UPSTREAM_ERROR: "CloudAgent broke",
    Outcome.UNREACHABLE: "CloudAgent not reached",
    Outcome.NO_REPLY: "No answer in time",
    Outcome.UNREADABLE_REPLY: "Answer not readable",
    Outcome.UNKNOWN: "Not known: the worker was lost",
    Outcome.CALLBACK_PASSED: "Call-back time has passed",
    Cause.EXPIRED: "Too old: it waited too long",
    Cause.ATTEMPTS_EXHAUSTED: "Tried as often as allowed",
}
"""Outcomes of an attempt, and causes of a failure."""

ICONS: Mapping[str, str] = {
    outcome: "delivered" if remedy is Remedy.NONE else "retrying" if remedy is Remedy.WAIT else "failed"
    for outcome, remedy in REMEDIES.items()
}
"""The sign of an attempt's outcome."""

FIELDS: Mapping[str, str] = {
    "state": "State",
    "cause": "Why it failed",
    "account": "Account",
    "ucid": "Call (UCID)",
    "agent_id": "Agent",
    "did": "DID",
    "disposition": "Disposition code",
    "source": "Source",
    "reference": "Reference",
    "comments": "Comments",
    "callback_time": "Call back at (2026-11-25 10:30:00)",
    "callback_time_zone": "Time zone of the call-back",
    "from": "Since",
    "to": "Before",
    "q": "Found by",
    "failure": "Of the failure",
}
"""Conditions of a filter, and fields."""

CERTAINTIES: Mapping[str, str] = {
    Certainty.ANSWERED: "CloudAgent answered",
    Certainty.NOT_SENT: "Never reached CloudAgent",
    Certainty.SENT_UNKNOWN: "CloudAgent may have acted on it",
}

OWNERS: Mapping[str, str] = {
    "data": "whoever looks after the CRM's data",
    "credentials": "whoever has CloudAgent's apiKey",
    "cloudagent": "CloudAgent, or whoever looks after the network to it",
    "wrapup": "whoever runs Wrapup",
}
"""Whose something is, as it stands behind "for"."""

DOUBTS: Mapping[str, str] = {
    Doubt.BREAKER: "CloudAgent does not answer, or not properly",
    Doubt.CREDENTIALS: "It is not sure that CloudAgent takes the apiKey",
    Doubt.TOKEN: "CloudAgent gives no token for now",
}
"""Why only one call at a time is sent for an account."""

ACTIONS: Mapping[str, str] = {
    Action.RETRY: "Send again",
    Action.CANCEL: "Take back",
    Action.RESEND: "Correct and resend",
}

REPLAY_STATES: Mapping[str, str] = {
    ReplayState.DRAFT: "to be confirmed",
    ReplayState.RUNNING: "under way",
    ReplayState.DONE: "done",
    ReplayState.STOPPED: "stopped: too many failed again",
    ReplayState.CANCELLED: "cancelled",
}
REPLAY_ICONS: Mapping[str, str] = {
    ReplayState.DRAFT: "queued",
    ReplayState.RUNNING: "sending",
    ReplayState.DONE: "delivered",
    ReplayState.STOPPED: "failed",
    ReplayState.CANCELLED: "cancelled",
}

RESULTS: Mapping[str, str] = {
    Result.WAITING: "To be done",
    Result.SKIPPED: "Skipped",
    Result.SENT: "On their way",
    Result.DELIVERED: "Delivered",
    Result.FAILED: "Failed again",
    Result.SUPERSEDED: "Superseded",
    Result.CANCELLED: "Taken back",
}

RUN_STATES: Mapping[str, str] = {
    RunState.QUEUED: "waits for the one before",
    RunState.STARTED: "started",
    RunState.SKIPPED: "skipped: the one before was still sending",
    RunState.MISSED: "missed: Wrapup did not run then",
    RunState.REFUSED: "refused",
}
RUN_ICONS: Mapping[str, str] = {
    RunState.QUEUED: "queued",
    RunState.STARTED: "delivered",
    RunState.SKIPPED: "superseded",
    RunState.MISSED: "failed",
    RunState.REFUSED: "failed",
}
RUN_KINDS: Mapping[str, str] = {"due": "by itself", "now": "by hand", "backfill": "made up for"}

OVERLAPS: Mapping[str, str] = {
    Overlap.SKIP: "leave that run out",
    Overlap.QUEUE: "let it wait for the one before",
}
"""While the run before is still sending."""

CHECKS: Mapping[str, str] = {
    trials.Result.OK: "ok",
    trials.Result.FAILED: "failed",
    trials.Result.NOT_CHECKED: "could not be checked",
}
CHECK_ICONS: Mapping[str, str] = {
    trials.Result.OK: "delivered",
    trials.Result.FAILED: "failed",
    trials.Result.NOT_CHECKED: "queued",
}

SAID: Mapping[str, str] = {
    "password": "Your password is changed. All your other sessions have ended.",
    "retried": "It will be sent again in a moment.",
    "cancelled": "It is taken back, and will not be sent.",
    "resent": "This is the corrected one. It will be sent in a moment; the old one stays as it was.",
    "held": "Nothing more is sent for this account until it is released. What comes in waits.",
    "released": "One call goes first; when CloudAgent answers it, the others follow.",
    "key": "The new apiKey is stored. One call goes first, as a probe; what an operator holds waits for its release.",
    "started": "It has begun. This page shows how it goes.",
    "stopped": "It is ended. What was sent is sent.",
    "saved": "Saved.",
    "scheduled": "It is made, and comes by itself from now on.",
    "ran": "It runs: its replay is the first below, or waits for the one before.",
    "backfilled": "The runs of that time wait below, and go one after the other.",
    "paused": "It rests until somebody lets it go on.",
    "resumed": "It goes on. What came due meanwhile is not made up for.",
    "deleted": "It is deleted, with the history of its runs. The replays that it made stay.",
    "acknowledged": "Noted. The group is shown as known until it comes back.",
    "role": "The role is changed, from the user's next click on.",
    "disabled": "The user has no access any more, and all their sessions have ended.",
    "enabled": "The user has access again.",
}
"""What a page says after something was done, by the word in its address: never a text from there."""


def outcome(name: str | None) -> str:
    """An outcome or a cause in plain words."""
    return OUTCOMES.get(name or "", (name or "").replace("_", " ").capitalize())


def actor(name: str) -> str:
    """Who did it, for people: a user by name, a program by what it is."""
    kind, _, rest = name.partition(":")
    match kind:
        case "user":
            return rest
        case "client":
            return f"{rest} (program)"
        case "drop-in":
            return f"{rest} (drop-in)"
        case "schedule":
            return f"{rest} (schedule)"
        case "cli" | "up":
            return "command line"
        case "worker" | "scheduler":
            return f"Wrapup ({kind})"
        case _:
            return name


def source(name: str) -> str:
    """Who sent it: a source by its name, a client as a program."""
    return actor(name) if ":" in name else name


def result(name: str) -> str:
    """Where one item of a replay stands."""
    return "On its way" if name == Result.SENT else RESULTS[name]


_DAILY = re.compile(r"([0-9]{1,2}) ([0-9]{1,2}) \* \* \*")
_HOURLY = re.compile(r"([0-9]{1,2}) \* \* \* \*")


def cron(expression: str) -> str | None:
    """The commonest cron expressions in plain words; None for the others, which speak for themselves."""
    if (daily := _DAILY.fullmatch(expression)) is not None:
        return f"every day at {int(daily[2]):02}:{int(daily[1]):02}"
    if (hourly := _HOURLY.fullmatch(expression)) is not None:
        return f"every hour at {int(hourly[1])} min past"
    return None


def mappable() -> str:
    """The fields of which one wrong value can be corrected in many, by the names that the API has for them."""
    return " or ".join([", ".join(MAPPABLE[:-1]), MAPPABLE[-1]])


def field(name: str) -> str:
    """A condition of a filter, or a field of a disposition."""
    return FIELDS.get(name, name)
