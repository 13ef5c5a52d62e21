"""Search: what a text may mean. Ids, UCIDs, agents, DIDs, references and codes as a whole; words of a reply in part.

Words are looked for where something is to be done about them: among the failures, which are few whatever lies in the
tables, and in the newest attempts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.tables import attempts, dispositions

_LEAST_LETTERS = 3  # of words; shorter ones are in every reply

_NUMBER = re.compile(r"\+?[0-9]{1,20}")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Meanings:
    """What a text may be. The text itself may be an agent, a code or a reference; ``numbers`` are a DID's spellings."""

    text: str
    ids: Sequence[UUID]
    ucids: Sequence[str]
    numbers: Sequence[str]
    failures: Sequence[UUID]


_ATTEMPT = text("SELECT disposition_id FROM attempts WHERE id = :id")

# By CloudAgent's words to the newest of a failure; by what stands in its place; by the cause's own name.
_FAILURES = """
    SELECT known.id
    FROM (SELECT id, cause, value FROM failures WHERE n > 0
          UNION SELECT failure_id, cause, value FROM failure_deltas WHERE n > 0) AS known
    LEFT JOIN LATERAL (
        SELECT disposition_id FROM failure_members WHERE failure_id = known.id ORDER BY disposition_id DESC LIMIT 1
    ) AS sample ON true
    LEFT JOIN LATERAL (
        SELECT reply_details FROM attempts WHERE disposition_id = sample.disposition_id ORDER BY number DESC LIMIT 1
    ) AS said ON true
    WHERE known.value ILIKE :general OR known.cause = :cause OR said.reply_details ILIKE :words
"""

_ATTEMPTS = """
    SELECT disposition_id
    FROM (SELECT disposition_id, reply_details FROM attempts ORDER BY id DESC LIMIT 2000) AS newest
    WHERE reply_details ILIKE :words
"""

_SAID = f"""
    dispositions.id IN (
        SELECT disposition_id FROM failure_members WHERE failure_id IN ({_FAILURES}) UNION ALL {_ATTEMPTS})
"""


async def meanings(connection: AsyncConnection, wanted: str, *, by_number: bool) -> Meanings:
    """What the text may mean. Without ``by_number`` no DID, and no words with digits: replies may hold numbers."""
    ids: list[UUID] = []
    failures: list[UUID] = []
    if (identity := _uuid(wanted)) is not None:
        ids = [identity, *(await connection.scalars(_ATTEMPT, {"id": identity})).all()]
    elif words := _words(wanted, by_number=by_number):
        failures = [*(await connection.scalars(text(_FAILURES), words)).all()]
        ids = [*(await connection.scalars(text(_ATTEMPTS), {"words": words["words"]})).all()]
    return Meanings(wanted, ids, _ucids(wanted), _numbers(wanted) if by_number else [], failures)


def matches(wanted: str, *, by_number: bool) -> ColumnElement[bool]:
    """The same as a condition on ``dispositions``, for what goes through all that a filter takes."""
    here = dispositions.c
    if (identity := _uuid(wanted)) is not None:
        return or_(here.id == identity, here.id.in_(select(attempts.c.disposition_id).where(attempts.c.id == identity)))
    meant = [here.agent_id == wanted, here.disposition == wanted, here.reference == wanted]
    meant.append(here.ucid.in_(_ucids(wanted)))
    if by_number:
        meant.append(here.did.in_(_numbers(wanted)))
    if words := _words(wanted, by_number=by_number):
        meant.append(text(_SAID).bindparams(**words))  # type: ignore[arg-type]  # a text is a condition, too
    return or_(*meant)


def _uuid(wanted: str) -> UUID | None:
    try:
        return UUID(wanted)
    except ValueError:
        return None


def _ucids(wanted: str) -> list[str]:
    return [wanted] if wanted.isascii() and wanted.isdigit() else []


def _numbers(wanted: str) -> list[str]:
    """A DID, which is stored as it came: with a plus or without."""
    digits = wanted.removeprefix("+")
    return [digits, f"+{digits}"] if _NUMBER.fullmatch(wanted) else []


def _words(wanted: str, *, by_number: bool) -> dict[str, str]:
    """Patterns for words of a reply; none if it can't be such."""
    if len(wanted) < _LEAST_LETTERS or _NUMBER.fullmatch(wanted) or (_DIGIT.search(wanted) and not by_number):
        return {}
    return {
        "words": _part(wanted),
        "general": _part(re.sub("[0-9]+", "#", wanted)),  # as the failures have it
        "cause": wanted.lower().replace(" ", "_"),
    }


def _part(wanted: str) -> str:
    """A pattern for texts that hold this one."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", wanted) + "%"
