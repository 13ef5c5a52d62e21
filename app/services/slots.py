"""Slots: the calls that a pump may have in flight, shared out so that no account takes them all.

An account whose calls hang keeps its slots for the whole deadline, and nobody can know it before. So a fifth of the
slots is kept for accounts that have few calls under way here, and half of it for those that have none: whatever the
others do, something is free for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

FEW = 3
"""An account may have so many calls under way in this pump with the help of what is kept, while half of it is free."""

_KEPT_SHARE = 5  # one of so many slots is kept
_WORTH_A_CLAIM = 5  # one of so many slots, free at once, is worth a claim that does not wait for more


@dataclass(frozen=True, slots=True)
class Offer:
    """How many calls may be claimed now, and how many of one account may then be under way.

    ``under_way``: what counts towards ``most``, by account.
    """

    room: int
    most: int
    under_way: Mapping[int, int] = field(default_factory=dict)


class Slots:
    """The slots of one pump: which are taken, by whom."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._kept = total // _KEPT_SHARE
        self._taken: Counter[int] = Counter()

    def take(self, account_id: int) -> None:
        """A call of this account is under way."""
        self._taken[account_id] += 1

    def give_back(self, account_id: int) -> None:
        """A call of this account has ended."""
        self._taken[account_id] -= 1
        if not self._taken[account_id]:
            del self._taken[account_id]

    @property
    def taken(self) -> int:
        """How many calls are under way."""
        return self._taken.total()

    @property
    def scarce(self) -> bool:
        """True while a claim would bring only a few calls."""
        return self._total - self._kept - self._taken.total() < self._total // _WORTH_A_CLAIM

    def offer(self, wanted_by: AbstractSet[int] | None = None) -> Offer | None:
        """What may be claimed, or None. ``wanted_by``: the accounts that have more to send, if that is known."""
        free = self._total - self._taken.total()
        if free > self._kept:
            return Offer(free - self._kept, most=self._total)
        for_those_with_none = self._kept // 2
        room, most = (free - for_those_with_none, FEW) if free > for_those_with_none else (free, 1)
        if room <= 0 or (wanted_by is not None and all(self._taken[account_id] >= most for account_id in wanted_by)):
            return None
        return Offer(room, most, dict(self._taken))
