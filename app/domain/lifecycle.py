"""The states of a disposition and every way from one to another.

::

                a            b                 c
     (intake) ─────▶ queued ─────▶ sending ─────────▶ delivered
                       │ ▲ ▲         │ │ ╲ e
                       │ │ └─held◀───┘ │   ╲──────▶ failed ──h──▶ queued
                       │ │      d      │ f
                       │ └──retrying◀──┘
                       ├──g──▶ superseded        also from retrying
                       └──i──▶ cancelled         also from retrying

The table below is the only place that says what may follow what. The storage floor takes the states that an edge may
leave from here and puts them into the WHERE of its UPDATE: a row that has moved on meanwhile is left alone, and
"0 rows" means that somebody else was first.

``held`` is not stored. A waiting disposition *shows* as held while its account is on hold, so that holding an account
with 100,000 of them is one UPDATE of one row (``docs/decisions/0003-held-is-derived.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a disposition stands."""

    QUEUED = "queued"
    SENDING = "sending"
    RETRYING = "retrying"
    HELD = "held"
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


# Waiting for a worker. What is here may be claimed, superseded, cancelled or expired.
WAITING = frozenset({State.QUEUED, State.RETRYING})
FINAL = frozenset({State.DELIVERED, State.FAILED, State.SUPERSEDED, State.CANCELLED})


class Cause(StrEnum):
    """Why a disposition failed, where it is not the outcome of its last attempt."""

    EXPIRED = "expired"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from some states into one. ``action`` is its word in the audit trail, None if it leaves no event."""

    letter: str
    leaves: frozenset[State]
    enters: State
    action: str | None

    def allows(self, state: State) -> bool:
        """True if a disposition in ``state`` may go this way."""
        return state in self.leaves


# a: stored by intake. The only edge that comes from nowhere.
ACCEPT = Edge("a", frozenset(), State.QUEUED, "accepted")

# b: leased by a worker. The attempt row, written in the same transaction, is its record; an event would say it twice.
SEND = Edge("b", WAITING, State.SENDING, None)

# c: CloudAgent has it.
DELIVER = Edge("c", frozenset({State.SENDING}), State.DELIVERED, "delivered")

# d: the attempt showed that the *account* is in trouble (credentials, wrong address), or that its token has ended. The
#    disposition goes back to waiting without its attempt being counted. If the probe that follows shows the same
#    trouble, the account is put on hold, and with that all that waits for it shows as held.
PUT_BACK = Edge("d", frozenset({State.SENDING}), State.QUEUED, None)

# e: no repeat will help, or none is left. From a waiting state only by age: promise 2 holds on hold, too.
FAIL = Edge("e", frozenset({State.SENDING}), State.FAILED, "failed")
EXPIRE = Edge("e", WAITING, State.FAILED, "failed")

# f: to be tried again later; also what becomes of a disposition whose worker died. The attempt row is its record.
RETRY_LATER = Edge("f", frozenset({State.SENDING}), State.RETRYING, None)

# g: a newer disposition of the same call makes this one pointless. Never from ``sending``: the call is on the wire,
#    and the newer one waits for its end. Straight from intake when ``occurred_at`` says that it is old news.
SUPERSEDE = Edge("g", WAITING, State.SUPERSEDED, "superseded")
ACCEPT_STALE = Edge("g", frozenset(), State.SUPERSEDED, "superseded")

# h: an operator, a replay or a corrected account sends it again. The counter of attempts goes on.
SEND_AGAIN = Edge("h", frozenset({State.FAILED}), State.QUEUED, "retried")

# i: an operator took it back. Not from ``sending``: what is on the wire can't be taken back.
CANCEL = Edge("i", WAITING, State.CANCELLED, "cancelled")

EDGES: tuple[Edge, ...] = (
    ACCEPT,
    SEND,
    DELIVER,
    PUT_BACK,
    FAIL,
    EXPIRE,
    RETRY_LATER,
    SUPERSEDE,
    ACCEPT_STALE,
    SEND_AGAIN,
    CANCEL,
)

TRANSITIONS: Mapping[State, frozenset[State]] = {
    state: frozenset(edge.enters for edge in EDGES if edge.allows(state)) for state in State
}


def shown(state: State, *, on_hold: bool) -> State:
    """The state as people see it: a waiting disposition of an account on hold is held."""
    return State.HELD if on_hold and state in WAITING else state
