"""What CloudAgent knows: accounts, their agents, their calls, and the disposition that each call holds.

All of it is in memory. The last write wins, as it does at the vendor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from app.sandbox import magic

CALLBACK_FORMATS = ("ymd", "mdy")
DEFAULT_CODES: tuple[str, ...] = ("Sale", "Call back", "Wrong number", "Not interested")


@dataclass(frozen=True, slots=True)
class Disposition:
    """What one request asked to set on a call; the texts are as sent, empty when they were not."""

    agent_id: str
    disposition: str
    comments: str = ""
    callback_time: str = ""
    callback_time_zone: str = ""
    pause_after_dispose: bool = False
    pause_reason: str = ""
    request_id: str = ""


@dataclass(slots=True)
class Call:
    """One phone call. A disposition that arrives while it is `ongoing` is queued until `end()`."""

    did: str | None = None  # None: any DID fits
    ongoing: bool = False
    held: Disposition | None = None
    queued: Disposition | None = None
    writes: int = 0

    def end(self) -> None:
        """The caller hung up: what was queued is now what the call holds."""
        self.ongoing = False
        if self.queued is not None:
            self.held, self.queued = self.queued, None


@dataclass(slots=True)
class Allowance:
    """At most `limit` takings in any `seconds`; none is refused when `limit` is None."""

    limit: int | None
    seconds: float
    _taken: deque[float] = field(default_factory=deque, repr=False)

    def take(self, now: float) -> bool:
        """Whether one more is allowed at `now` (seconds); counts it if so."""
        if self.limit is None:
            return True
        while self._taken and self._taken[0] <= now - self.seconds:
            self._taken.popleft()
        if len(self._taken) >= self.limit:
            return False
        self._taken.append(now)
        return True


class AccountSettings(TypedDict, total=False):
    """What can be said about an account; what is left out stays as it is.

    `agents` None: every agent is known but those of `magic.UNKNOWN_AGENT`. `calls` (UCID → DID): these calls
    are known and no others; None: any UCID of digits with any DID is a call. `callback_formats`: which of
    `ymd` (yyyy-mm-dd HH:mm:ss) and `mdy` (mm/dd/yyyy HH:mm:ss) are accepted. `codes`: what V2's `action=get`
    lists. `per_minute` limits the requests about dispositions. `magic` turns the demo's values (`magic.py`)
    on or off.
    """

    api_key: str
    agents: Collection[str] | None
    calls: Mapping[str, str] | None
    callback_formats: Collection[str]
    codes: Collection[str]
    per_minute: int | None
    magic: bool


class Account:
    """A CloudAgent customer and what CloudAgent knows of it; see `AccountSettings`."""

    def __init__(self, customer: str, api_key: str) -> None:
        self.customer = customer
        self.api_key = api_key
        self.agents: frozenset[str] | None = None
        self.strict_calls = False
        self.callback_formats = frozenset(CALLBACK_FORMATS)
        self.codes = DEFAULT_CODES
        self.magic = True
        self.requests = Allowance(None, 60.0)
        self.calls: dict[str, Call] = {}

    def change(self, settings: AccountSettings) -> None:
        """Takes over what is given. Raises `ValueError` for an unknown format, and changes nothing then."""
        formats = frozenset(settings.get("callback_formats", self.callback_formats))
        if unknown := formats - set(CALLBACK_FORMATS):
            raise ValueError(f"unknown callback format {sorted(unknown)}: use {' and/or '.join(CALLBACK_FORMATS)}")
        agents = settings.get("agents", self.agents)
        self.callback_formats = formats
        self.agents = None if agents is None else frozenset(agents)
        self.api_key = settings.get("api_key", self.api_key)
        self.codes = tuple(settings.get("codes", self.codes))
        self.magic = settings.get("magic", self.magic)
        self.requests.limit = settings.get("per_minute", self.requests.limit)
        if "calls" in settings:
            self.strict_calls = settings["calls"] is not None
            for ucid, did in (settings["calls"] or {}).items():
                self.announce(ucid, did)

    def knows_agent(self, agent_id: str) -> bool:
        """Whether the agent exists in this account."""
        if self.agents is not None:
            return agent_id in self.agents
        return bool(agent_id) and not agent_id.startswith(magic.UNKNOWN_AGENT)

    def announce(self, ucid: str, did: str | None = None, *, ongoing: bool = False) -> Call:
        """Makes a call known (again), with its DID if only one fits."""
        call = self.calls.setdefault(ucid, Call())
        call.did, call.ongoing = did, ongoing
        return call

    def find_call(self, ucid: str, did: str) -> Call | None:
        """The call of that UCID and DID, or None when CloudAgent knows none."""
        call = self.calls.get(ucid)
        if call is not None:
            return call if did and call.did in (None, did) else None
        if self.strict_calls or not did or not (ucid.isascii() and ucid.isdigit()):
            return None
        if self.magic and ucid.startswith(magic.UNKNOWN_CALL):
            return None
        return self.announce(ucid, ongoing=self.magic and ucid.startswith(magic.ONGOING_CALL))
