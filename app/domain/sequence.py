"""A sequence read in order while others still write it.

A number is taken before its row is committed. So a row with a lower number may come to be seen after one with a higher,
and who reads on from the highest number that was seen would miss it. Numbers that are missing are therefore waited
for, until nobody can bring them any more: every transaction that was under way when they were missed has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SETTLED = 1.0  # seconds: a number may be taken a moment before its transaction has an id
_LONGEST = 20.0  # seconds: longer than any statement of ours may take


@dataclass(frozen=True, slots=True)
class Gap:
    """A number that was missed: when (monotonic seconds), and below which id all transactions of then are."""

    at: float
    transactions: int


class InOrder:
    """Tells how far a sequence can be read without missing what is still on its way."""

    def __init__(self, position: int) -> None:
        self.position = position
        """Everything up to this number is settled."""
        self._gaps: dict[int, Gap] = {}

    def settle(self, numbers: Sequence[int], *, oldest: int, following: int, now: float) -> list[int]:
        """Which of the numbers are next, in order. They are all above the position that can be seen, ascending.

        ``oldest`` is the id of the oldest transaction that is under way, ``following`` the next id to be given, both of
        the moment at which the numbers were seen.
        """
        told: list[int] = []
        waiting = False
        expected = self.position + 1
        for number in numbers:
            if number > expected and not self._is_void(expected, oldest, following, now):
                waiting = True
            if not waiting:
                told.append(number)
                self.position = number
            expected = number + 1
        self._gaps = {number: gap for number, gap in self._gaps.items() if number > self.position}
        return told

    def _is_void(self, missing: int, oldest: int, following: int, now: float) -> bool:
        """True if nobody can bring the missing number any more."""
        gap = self._gaps.setdefault(missing, Gap(now, following))
        age = now - gap.at
        return age > _LONGEST or (age >= _SETTLED and oldest >= gap.transactions)
