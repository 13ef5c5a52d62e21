"""CloudAgent's own words for what is wrong with a request, for callers that were written for CloudAgent.

The order is that in which CloudAgent is taken to check: action, disposition code, UCID and DID, agent, call-back
time. One row of the reply table is answered, that of the first fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.domain.errors import Fault

Words = Mapping[str, str]

PARAMETERS = frozenset(
    {
        *("apiKey", "customer", "did", "agentID", "disposition", "ucid", "comments", "action"),
        *("callBackTime", "callBackTimeZone", "pauseAfterDispose", "pauseReason"),
    }
)

STORED: Words = {"status": "Success", "details": "queued successfully"}
WRONG_CREDENTIALS: Words = {"status": "Fail", "details": "Authentication fails"}
TOO_MANY: Words = {"status": "Error", "details": "Max limit exceeded"}
# Here the wording means what it says: the database did not confirm, and a repeat is what helps.
NOT_STORED: Words = {"status": "Error", "details": "Unable to Dispose . Please retry after some time."}

# The reply table's rows by the fields that they are about.
_ROWS: Sequence[tuple[frozenset[str], str]] = (
    (frozenset({"action"}), "Invalid action->{action}"),
    (frozenset({"disposition"}), "Empty disposition code"),
    # 20 or more characters too: CloudAgent says "retry after some time" then, and a caller would, for ever.
    (frozenset({"ucid", "did"}), "Invalid ucid [{ucid}] or did [{did}"),
    (frozenset({"agentID", "agent_id"}), "Invalid agent"),
    (
        frozenset({"callBackTime", "callBackTimeZone"}),
        "callBackTime should be in yyyy-mm-dd HH:mm:ss Format with valid Date",
    ),
)
_ECHO = 64  # characters of what the caller sent that are said back


def refusal(faults: Sequence[Fault], sent: Mapping[str, str]) -> Words:
    """The row for the first of the faults in CloudAgent's order; our own words for what it has no row for."""
    wrong = {fault.field for fault in faults}
    echo = {name: sent.get(name, "")[:_ECHO] for name in ("action", "ucid", "did")}
    for fields, details in _ROWS:
        if fields & wrong:
            return {"status": "Fail", "details": details.format_map(echo)}
    return {"status": "Fail", "details": faults[0].message}


def missing_action(sent: Mapping[str, str]) -> Sequence[Fault]:
    """CloudAgent demands ``action``; our own API does not."""
    return () if sent.get("action", "").strip() else (Fault("action", "action is missing; it must be 'set'."),)
