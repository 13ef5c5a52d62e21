"""Mending: a failure is corrected as a whole."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from app.domain.errors import NotFound
from app.domain.replays import Action
from app.services.failures import Failures
from app.services.keys import Caller
from app.services.replays import Replays


@dataclass(frozen=True, slots=True)
class Mending:
    """Starts replays, and notes the failures that they correct as known.

    What is corrected leaves its group. What of the group stays behind (skipped, or of a call that has a newer one) has
    been looked at too: without the note, people would be sent to it again. It is open again as soon as one more fails
    in the same way, or the replay is ended before its time (``reopen_left`` in failures.py).
    """

    replays: Replays
    failures: Failures

    async def start(self, replay_id: UUID, caller: Caller, *, reason: str | None = None) -> None:
        """Starts a replay that was drafted; raises as ``Replays.start``."""
        replay = await self.replays.start(replay_id, caller, reason=reason)
        if replay.action != Action.RESEND:
            return  # what is sent again as it is leaves its group
        for failure_id in replay.filter.get("failure", ()):
            with suppress(NotFound):  # it has been mended meanwhile
                await self.failures.acknowledge(UUID(failure_id), caller, note=f"Corrected and sent: {replay.reason}")
