"""Lanes: what claiming and finishing write of an account, apart from the row that everybody reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.lane import LEARNED_DOUBLES_IN, MEANINGLESS, Doubt, Lane

RECENT_SECONDS = 10
"""Over how long the rate of what was sent lately is smoothed."""

# No time has passed since what lies ahead: the database's clock was set back. Else a power of those hours is no number
# any more, and each claim fails, for whichever account.
_DOUBLINGS = f"""
    extract(epoch FROM statement_timestamp() - least(learned_at, statement_timestamp()))
        / {LEARNED_DOUBLES_IN.total_seconds()}"""
_CLIMBED = f"learned_rate * power(2, least(60, {_DOUBLINGS}))"

LEARNED = f"CASE WHEN {_CLIMBED} < {MEANINGLESS} THEN {_CLIMBED} END"
"""Calls a second that CloudAgent seems to take: what was learned climbs by itself, until it means nothing any more."""

PACE = f"least(rate_per_second, {LEARNED})"
"""Calls a second that an account may be sent. NULL is no limit, and no limit to ``least``."""

# What was sent lately fades with time, down to nothing: so that no product of small numbers underflows. It never grows.
RECENT = f"""
    CASE WHEN recent > 0.01 AND served_at > statement_timestamp() - interval '5 minutes'
         THEN recent * exp(-extract(epoch FROM statement_timestamp() - least(served_at, statement_timestamp()))::float8
                           / {RECENT_SECONDS})
         ELSE 0 END"""

_LOCK = text(f"""
    SELECT lanes.account_id, revision, doubt, probe_at, failed_probes, window_at, window_calls, window_failures,
           window_limited, learned_rate, learned_at, {PACE} AS rate, ({RECENT}) / {RECENT_SECONDS} AS recent
    FROM lanes JOIN accounts ON accounts.id = lanes.account_id
    WHERE lanes.account_id = ANY(:ids) ORDER BY lanes.account_id FOR UPDATE OF lanes
""")


async def lock(connection: AsyncConnection, account_ids: Sequence[int]) -> dict[int, tuple[int, Lane]]:
    """The lanes, locked in one order for everybody, each with its account's revision."""
    found = await connection.execute(_LOCK, {"ids": account_ids})
    return {row.account_id: (row.revision, _lane(row)) for row in found}


def _lane(row: Row[Any]) -> Lane:
    return Lane(
        doubt=None if row.doubt is None else Doubt(row.doubt),
        probe_at=row.probe_at,
        failed_probes=row.failed_probes,
        window_at=row.window_at,
        window_calls=row.window_calls,
        window_failures=row.window_failures,
        window_limited=row.window_limited,
        learned_rate=row.learned_rate,
        learned_at=row.learned_at,
        rate=row.rate,
        recent=row.recent,
    )


_WRITE = text("""
    UPDATE lanes SET doubt = :doubt, probe_at = :probe_at, failed_probes = :failed_probes, window_at = :window_at,
        window_calls = :window_calls, window_failures = :window_failures,
        window_limited = :window_limited, learned_rate = :learned_rate,
        learned_at = :learned_at
    WHERE account_id = :account_id
""")


async def write(connection: AsyncConnection, account_id: int, lane: Lane) -> None:
    """Writes what a lane has become; the caller has locked it."""
    await connection.execute(
        _WRITE,
        {
            "account_id": account_id,
            "doubt": lane.doubt,
            "probe_at": lane.probe_at,
            "failed_probes": lane.failed_probes,
            "window_at": lane.window_at,
            "window_calls": lane.window_calls,
            "window_failures": lane.window_failures,
            "window_limited": lane.window_limited,
            "learned_rate": lane.learned_rate,
            "learned_at": lane.learned_at,
        },
    )


# What was counted and learned before was about other settings, or before a person looked.
_DOUBT = text(f"""
    UPDATE lanes SET doubt = '{Doubt.CREDENTIALS}', probe_at = clock_timestamp(), failed_probes = 0,
        window_at = NULL, window_calls = 0, window_failures = 0, window_limited = 0
    WHERE account_id = :id
""")


async def doubt(connection: AsyncConnection, account_id: int) -> None:
    """Has one call sent first, as a probe, before all the others. Before the account's row is written: lanes first."""
    await connection.execute(_DOUBT, {"id": account_id})
