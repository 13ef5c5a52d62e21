"""The demo's values: what to send to see CloudAgent refuse or fail, with no control call.

An account answers to them unless its `magic` is off. UCIDs of other shapes and other codes just work.
"""

from __future__ import annotations

UNKNOWN_AGENT = "unknown"
UNKNOWN_CALL = "40400"  # as in 404 Not Found
ONGOING_CALL = "20200"  # as in 202 Accepted

# Disposition code → script, played once per call (UCID) in which the code is seen.
CODES: dict[str, str] = {
    "retry-twice": "error*2",
    "retry-forever": "error*",
    "busy-once": "429:2",
    "down-once": "503",
    "reset-once": "reset_after",
    "hang-once": "hang",
    "html-once": "html",
    "odd-refusal": "unknown_fail*",
}


def describe() -> str:
    """One line per magic value, for `wrapup sandbox --help`."""
    lines = [
        f"agent {UNKNOWN_AGENT}…: Invalid agent",
        f"UCID {UNKNOWN_CALL}…: Invalid ucid or did",
        f"UCID {ONGOING_CALL}…: the call is still going on, queued successfully",
        *(f"disposition {code}: {script}" for code, script in CODES.items()),
    ]
    return "\n".join(lines)
