"""A throttle on guessing: so many wrong tries within a time, then a wait. In memory, for each process: it only slows
a guesser down."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

_KNOWN_MOST = 10_000


class Throttle:
    """Counts what was wrong, by whatever is guessed at. ``window`` is in seconds, as is what ``clock`` gives."""

    def __init__(self, most: int, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._window = window
        self._clock = clock
        self._wrong: dict[Hashable, tuple[float, int]] = {}  # since when, how many

    def wait(self, guess: Hashable) -> int:
        """Seconds until it may be tried again; 0: now."""
        since, count = self._standing(guess)
        return 0 if count < self._most else int(since + self._window - self._clock()) + 1

    def count(self, guess: Hashable) -> None:
        """One more that was wrong."""
        since, count = self._standing(guess)
        if len(self._wrong) >= _KNOWN_MOST and guess not in self._wrong:
            self._wrong.clear()
        self._wrong[guess] = since, count + 1

    def take_back(self, guess: Hashable) -> None:
        """The one that was counted last was right; those before it stay."""
        if guess in self._wrong:
            since, count = self._wrong[guess]
            self._wrong[guess] = since, max(0, count - 1)

    def forget(self, guess: Hashable) -> None:
        """It was right: what was wrong before is forgiven."""
        self._wrong.pop(guess, None)

    def _standing(self, guess: Hashable) -> tuple[float, int]:
        now = self._clock()
        since, count = self._wrong.get(guess, (now, 0))
        return (now, 0) if now - since >= self._window else (since, count)
