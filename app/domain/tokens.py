"""CloudAgent's tokens: how long one serves, and when the next may be asked for.

A token lasts 60 minutes, ten may be asked for in an hour, and a new one ends those before it. So one token serves all
workers, it is replaced ahead of its end, and asking is paced: whatever goes wrong, an hour's ten last for a while.
Pure: times go in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

LIFETIME = timedelta(minutes=60)
PER_HOUR = 10

REPLACED_FROM = timedelta(minutes=50)
"""The age from which a token is replaced. It serves on meanwhile."""

SERVES_UNTIL = LIFETIME - timedelta(minutes=1)
"""The age up to which a call may start with a token, so that it arrives while the token lasts."""

HOUR = timedelta(hours=1, minutes=1)
"""CloudAgent counts when a request arrives, we when it is about to be sent: a minute allows for the difference."""

# The pause before the next request, by how many the last hour saw. Five at once, for tokens that somebody else ends;
# then slower and slower, so that a CloudAgent that never answers has not taken all ten within two minutes.
_PAUSES = tuple(timedelta(seconds=seconds) for seconds in (0, 0, 0, 0, 0, 30, 60, 120, 240, 480))
assert len(_PAUSES) == PER_HOUR

_AT_LEISURE = timedelta(minutes=3)  # while the old one still serves: three tries before its end, not all ten


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account stands with its tokens. Times are the database's.

    ``made_at`` is when the current one was asked for, None if there is none. ``asked`` are the requests of the last
    ``HOUR``, oldest first, known to have been made or not known not to have been. ``blocked_until``: CloudAgent said
    before then that it was too many.
    """

    now: datetime
    made_at: datetime | None = None
    asked: Sequence[datetime] = ()
    blocked_until: datetime | None = None

    @property
    def serves(self) -> bool:
        """True if a call may start with the current token."""
        return self.made_at is not None and self.now - self.made_at < SERVES_UNTIL

    def may_ask_at(self, *, at_leisure: bool = False) -> datetime:
        """When the next may be asked for; not later than ``now``: at once. ``at_leisure``: the old one still serves."""
        earliest = self.now if self.blocked_until is None else self.blocked_until
        if len(self.asked) >= PER_HOUR:
            return max(earliest, self.asked[-PER_HOUR] + HOUR)
        if self.asked:
            pause = _PAUSES[len(self.asked)]
            earliest = max(earliest, self.asked[-1] + (max(pause, _AT_LEISURE) if at_leisure else pause))
        return earliest
