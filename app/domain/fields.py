"""The rules for one value each: what a field of a disposition may hold.

A rule is a function of the field's name as the caller sent it (for the message) and of the value, which is
never null or empty and has no white space around it. It gives the value as Wrapup keeps it or raises
`InvalidInput`.

Texts must be text: a number or a list is refused, not converted, since its sender may have lost digits or
leading zeros by then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from app.domain.callback_time import FIRST_YEAR, LAST_YEAR, time_zone
from app.domain.errors import InvalidInput
from app.domain.refusals import is_number, kind, quoted, refusal

LONGEST_UCID = 19
"""Digits. From 20 on CloudAgent answers "Please retry after some time", for ever (reply table, the trap)."""

LONGEST_MAX_AGE = timedelta(days=30)

# C0 controls, DEL, C1 controls, and halves of surrogate pairs, which no encoding can carry.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_FORBIDDEN_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_UCID = re.compile(f"[0-9]{{1,{LONGEST_UCID}}}")
_ROUNDED = re.compile(r"[0-9]+(?:[.,][0-9]+)?[eE]\+?[0-9]+")
_DID = re.compile(r"\+?[0-9]{1,20}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_YES_OR_NO = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def text(longest: int, *, lines: bool = False) -> Callable[[str, object], str]:
    """The rule for a text of at most ``longest`` characters, without control characters.

    With ``lines`` it may hold tabs and line ends; those of Windows and of forms (CR LF) become LF.
    """
    forbidden = _FORBIDDEN_IN_LINES if lines else _FORBIDDEN

    def rule(name: str, value: object) -> str:
        if not isinstance(value, str):
            raise _not_text(name, value)
        if lines and "\r" in value:
            value = value.replace("\r\n", "\n").replace("\r", "\n")
        if len(value) > longest:
            raise refusal(name, f"has {len(value)} characters; at most {longest} are taken")
        if not value.isprintable() and (found := forbidden.search(value)):
            where = f"U+{ord(found[0]):04X} at position {found.start() + 1}"
            raise refusal(name, f"has a control character or half of a character: {where}")
        return value

    return rule


def ucid(name: str, value: object) -> str:
    """Digits as text. Not a JSON number: many senders round those above 2^53, and a UCID has 16 digits."""
    if isinstance(value, str):
        if _UCID.fullmatch(value):
            return value
        raise refusal(name, _wrong_ucid(value))
    if is_number(value):
        raise refusal(name, "came as a number; send it as text, in quotes: many senders round large numbers")
    raise _not_text(name, value)


def did(name: str, value: object) -> str:
    """Digits with or without a leading +. Nothing inside is stripped: it is sent as it was given."""
    if not isinstance(value, str):
        raise _not_text(name, value)
    if not _DID.fullmatch(value):
        raise refusal(name, f"{quoted(value)} is not 1 to 20 digits, with or without a leading +")
    return value


def action(name: str, value: object) -> str:
    """Only ``set``, in any letter case."""
    if not isinstance(value, str) or value.lower() != "set":
        raise refusal(name, f"is {quoted(value)}; only 'set' is possible, and it may be left out")
    return "set"


def yes_or_no(name: str, value: object) -> bool:
    """true or false, or the texts that forms send for them."""
    if isinstance(value, bool):
        return value
    answer = _YES_OR_NO.get(value.lower()) if isinstance(value, str) else None
    if answer is None:
        raise refusal(name, f"is {quoted(value)}; it must be true or false")
    return answer


def max_age(name: str, value: object) -> timedelta:
    """Whole seconds, as a number or as text, up to 30 days."""
    seconds = int(value) if isinstance(value, str) and _SECONDS.fullmatch(value) else value
    longest = LONGEST_MAX_AGE.days * 86_400
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= longest:
        raise refusal(name, f"is {quoted(value)}; it must be whole seconds, 1 to {longest} (30 days)")
    return timedelta(seconds=seconds)


def instant(name: str, value: object) -> datetime:
    """RFC 3339 with an offset, converted to UTC. Years 2000 to 2100."""
    if not isinstance(value, str):
        raise _not_text(name, value)
    match = _INSTANT.fullmatch(value)
    if match is None:
        raise refusal(name, f"{quoted(value)} is not an RFC 3339 time such as 2026-11-25T10:30:00+05:30")
    if match["offset"] is None:
        raise refusal(name, f"{quoted(value)} has no offset from UTC; add Z or one such as +05:30")
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError as error:
        raise refusal(name, f"{quoted(value)} is no real date and time ({error})") from None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise refusal(name, f"{quoted(value)} is not in the years {FIRST_YEAR} to {LAST_YEAR}")
    return moment.astimezone(UTC)


def zone(name: str, value: object) -> ZoneInfo:
    """An IANA time zone by its name."""
    if not isinstance(value, str):
        raise _not_text(name, value)
    return time_zone(value, field=name)


def _wrong_ucid(value: str) -> str:
    if _ROUNDED.fullmatch(value):
        return f"{quoted(value)} was rounded, by a spreadsheet perhaps; send all of its digits"
    if len(value) > LONGEST_UCID:
        return (
            f"{quoted(value)} has {len(value)} {'digits' if value.isdecimal() else 'characters'}; "
            f"CloudAgent takes at most {LONGEST_UCID}: it would answer 'retry after some time' for ever. "
            "Check that the CRM sends the UCID, not the monitorUCID"
        )
    return f"{quoted(value)} has something in it that is not a digit 0 to 9"


def _not_text(name: str, value: object) -> InvalidInput:
    advice = ": put it in quotes" if is_number(value) else ""
    return refusal(name, f"must be text, not {kind(value)}{advice}")
