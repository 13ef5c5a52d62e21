"""Which step answers the next request.

The first of these that has one decides: the script of the call (UCID), the script of the token endpoint, the
script for any next requests, the demo's magic value, the mix of the account, the mix of the server. Then all
goes right.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

from app.sandbox import magic
from app.sandbox.faults import OK, Step, parse_script, parse_step
from app.sandbox.latency import Latency
from app.sandbox.rules import Asked
from app.sandbox.state import Account

Script = str | Iterable[str]


@dataclass(frozen=True, slots=True)
class Mix:
    """Steps drawn at random, each for its share (per cent) of the requests; the rest goes right.

    A draw depends on the seed, the call and the how-manieth request of the call it is, not on the order in
    which requests of different calls arrive: a run with the same seed has the same faults however its calls
    interleave.
    """

    shares: tuple[tuple[Step, float], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Mix:
        """`503=5,reset_after=2.5`. Raises `ValueError`."""
        shares: list[tuple[Step, float]] = []
        for part in filter(None, text.split(",")):
            name, _, share = part.partition("=")
            try:
                per_cent = float(share)
            except ValueError:
                raise ValueError(f"the share in {part!r} must be per cent, as in 503=5") from None
            shares.append((parse_step(name.strip()), per_cent))
        if any(share < 0 for _, share in shares) or sum(share for _, share in shares) > 100:
            raise ValueError(f"the shares in {text!r} must be per cent of all requests, at most 100 together")
        return cls(tuple(shares))

    def draw(self, random: Random) -> Step:
        """The step of one request."""
        at = random.uniform(0, 100)
        for step, share in self.shares:
            if at < share:
                return step
            at -= share
        return OK


@dataclass(slots=True)
class Behaviour:
    """How the server, or one account on it, answers by default."""

    mix: Mix | None = None
    latency: Latency | None = None


@dataclass(slots=True)
class Scripts:
    """All that was asked to go wrong, and how far it has come."""

    seed: int = 0
    server: Behaviour = field(default_factory=Behaviour)
    accounts: dict[str, Behaviour] = field(default_factory=dict)
    _calls: dict[str, deque[Step]] = field(default_factory=dict)
    _next: deque[Step] = field(default_factory=deque)
    _token: deque[Step] = field(default_factory=deque)
    _magic: dict[tuple[str, str, str], deque[Step]] = field(default_factory=dict)
    _arrivals: Counter[tuple[str, str]] = field(default_factory=Counter)

    def play(self, faults: str) -> None:
        """A mix if it has shares (`503=5,hang=1`), else steps for the next requests (`503,reset_after`)."""
        if "=" in faults:
            self.server.mix = Mix.parse(faults)
        else:
            self.next(faults)

    def call(self, ucid: str, script: Script) -> None:
        """Scripts the coming requests about one call, in place of what was scripted for it."""
        self._calls[ucid] = parse_script(script)

    def next(self, script: Script) -> None:
        """Adds steps for the next requests about any call that has no script of its own."""
        self._next.extend(parse_script(script))

    def token(self, script: Script) -> None:
        """Scripts the coming requests for a token."""
        self._token = parse_script(script)

    def account(self, customer: str, settings: Mapping[str, str]) -> None:
        """Sets `mix` and `latency` of one account; an empty text ends one."""
        _set(self.accounts.setdefault(customer, Behaviour()), settings)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Sets `mix` and `latency` of the server; an empty text ends one."""
        _set(self.server, settings)

    def clear(self) -> None:
        """From now on all goes right, and at once."""
        self.server = Behaviour()
        for scripts in (self.accounts, self._calls, self._next, self._token, self._magic, self._arrivals):
            scripts.clear()

    def step(self, endpoint: str, account: Account | None, asked: Asked) -> tuple[Step, float]:
        """How to answer this request, and after how many seconds. The step is used up."""
        own = self.accounts.get(asked.customer)
        mix = own.mix if own and own.mix else self.server.mix
        latency = own.latency if own and own.latency else self.server.latency
        random = self._random(asked) if mix or (latency and latency.varies) else None

        step = self._scripted(endpoint, account, asked)
        if step is None:
            step = mix.draw(random) if mix and random else OK
        latency = step.latency or latency
        if latency is None:
            return step, 0.0
        return step, latency.draw(random or self._random(asked)) if latency.varies else latency.low

    def _scripted(self, endpoint: str, account: Account | None, asked: Asked) -> Step | None:
        if endpoint == "token":
            return _take(self._token)
        return (
            (_take(self._calls[asked.ucid]) if asked.ucid in self._calls else None)
            or _take(self._next)
            or (self._magic_step(asked) if account is not None and account.magic else None)
        )

    def _magic_step(self, asked: Asked) -> Step | None:
        code = asked.wanted.disposition
        if code not in magic.CODES:
            return None
        key = (asked.customer, asked.ucid, code)
        if key not in self._magic:
            self._magic[key] = parse_script(magic.CODES[code])
        return _take(self._magic[key])

    def _random(self, asked: Asked) -> Random:
        key = (asked.customer, asked.ucid)
        self._arrivals[key] += 1
        return Random(f"{self.seed}:{asked.customer}:{asked.ucid}:{self._arrivals[key]}")  # noqa: S311


def _take(script: deque[Step]) -> Step | None:
    if not script:
        return None
    return script[0] if script[0].for_ever else script.popleft()


def _set(behaviour: Behaviour, settings: Mapping[str, str]) -> None:
    if "mix" in settings:
        behaviour.mix = Mix.parse(settings["mix"]) if settings["mix"] else None
    if "latency" in settings:
        behaviour.latency = Latency.parse(settings["latency"]) if settings["latency"] else None
