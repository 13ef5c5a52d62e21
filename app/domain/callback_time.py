"""Call-back times: what callers write, and the two ways in which CloudAgent reads them.

A call-back time is a wall time in a zone: "half past ten in Kolkata". That is what CloudAgent takes
(``callBackTime`` and ``callBackTimeZone``), so it is kept as a naive ``datetime`` to the second, beside the
zone's name. Dates are never guessed: ``mm/dd/yyyy`` is the only form with slashes, as CloudAgent has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from app.domain.refusals import quoted, refusal

DEFAULT_ZONE = "Asia/Kolkata"
"""CloudAgent's default for ``callBackTimeZone``."""

FIRST_YEAR, LAST_YEAR = 2000, 2100

_FORMS = "2026-11-25T10:30:00+05:30, 2026-11-25 10:30:00 or 11/25/2026 10:30:00 (mm/dd/yyyy)"

_TIME = r"(?P<time>(?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?)"
_ISO = re.compile(
    rf"(?P<date>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[Tt ]{_TIME}"
    r"(?: ?(?P<offset>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?))?"
)
_SLASHES = re.compile(rf"(?P<month>[0-9]{{2}})/(?P<day>[0-9]{{2}})/(?P<year>[0-9]{{4}}) {_TIME}")
_DATE_ONLY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}/[0-9]{2}/[0-9]{4}")
_LOST_PLUS = re.compile(r".+:[0-9]{2}(?:[.,][0-9]+)? [0-9]{2}:?[0-9]{2}")

# Not zones of a place: the machine's own, and the tz database's "nobody has set this yet".
_NO_PLACES = frozenset({"localtime", "Factory"})


class CallbackFormat(StrEnum):
    """How CloudAgent reads ``callBackTime``: its pages contradict each other, so an account learns it."""

    YMD = "ymd"
    """``yyyy-mm-dd HH:mm:ss``, as the API's own error says (reply table, "Invalid call-back time")."""
    MDY = "mdy"
    """``mm/dd/yyyy HH:mm:ss``, as the table of parameters says."""

    @property
    def other(self) -> CallbackFormat:
        """The one to try after this one was refused."""
        return CallbackFormat.MDY if self is CallbackFormat.YMD else CallbackFormat.YMD


class LateCallback(StrEnum):
    """What an account wants with a disposition whose call-back time has passed before it could be delivered."""

    DELIVER = "deliver"
    """Send it all the same; the attempt says so."""
    REVIEW = "review"
    """Don't send it: it fails as ``callback_passed``, until somebody has looked at it and sends it again."""


def has_passed(moment: datetime, zone: str | None, now: datetime) -> bool:
    """True if the wall time ``moment`` in ``zone`` (default: CloudAgent's) is not after ``now`` (aware)."""
    return moment.replace(tzinfo=ZoneInfo(zone or DEFAULT_ZONE)) <= now


def format_callback_time(moment: datetime, form: CallbackFormat) -> str:
    """``moment`` (naive wall time) as CloudAgent's parameter ``callBackTime``."""
    return moment.strftime("%Y-%m-%d %H:%M:%S" if form is CallbackFormat.YMD else "%m/%d/%Y %H:%M:%S")


def in_default_zone(moment: datetime, zone_name: str | None) -> datetime:
    """``moment`` (naive wall time in that zone) as a naive wall time in CloudAgent's default zone."""
    if zone_name in (None, DEFAULT_ZONE):
        return moment
    return moment.replace(tzinfo=ZoneInfo(zone_name)).astimezone(ZoneInfo(DEFAULT_ZONE)).replace(tzinfo=None)


def time_zone(name: str, *, field: str = "callback_time_zone") -> ZoneInfo:
    """The zone with that IANA name, spelt exactly so. Raises `InvalidInput` for ``field``.

    Only names from the tz database's own list get as far as a file, so a name can't walk to another one.
    """
    # The default first: listing the tz database takes tens of milliseconds, once in a process.
    if name != DEFAULT_ZONE and name not in _zone_names():
        nearest = _zone_spellings().get(name.strip().replace(" ", "_").casefold())
        advice = f"did you mean {nearest}?" if nearest else f"write one such as {DEFAULT_ZONE}"
        raise refusal(field, f"{quoted(name)} is not the name of an IANA time zone; {advice}")
    return ZoneInfo(name)


def parse_callback_time(text: str, zone: ZoneInfo, *, field: str = "callback_time") -> datetime:
    """The wall time in ``zone`` that ``text`` names: naive, to the second (a fraction is dropped).

    Takes ISO 8601 (``T`` or a space, seconds and offset optional), ``yyyy-mm-dd HH:mm:ss`` and
    ``mm/dd/yyyy HH:mm:ss``. With an offset or ``Z`` the time is converted to ``zone``. Of a time that the
    clocks there show twice (the end of daylight saving) it is the first.

    Raises `InvalidInput` for ``field``: another form, no real date, a year outside 2000 to 2100, or a time
    that the clocks there skip (the start of daylight saving).
    """
    date, time, offset = _read(text, field)
    try:
        written = datetime.fromisoformat(f"{date}T{time}{offset}").replace(microsecond=0)
    except ValueError as error:
        raise refusal(field, f"{quoted(text)} is no real date and time ({error}{_swapped(text)})") from None
    _check_year(written, text, field)  # so the conversion can't run over an end of the calendar
    if offset:
        there = written.astimezone(zone).replace(tzinfo=None, fold=0)
        _check_year(there, text, field)
        return there
    there = written.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0)
    if there != written:
        message = f"{quoted(text)} does not exist in {zone.key}: the clocks there are put forward over it"
        raise refusal(field, f"{message}; write {there:%Y-%m-%d %H:%M:%S} if that is meant")
    return there


def _read(text: str, field: str) -> tuple[str, str, str]:
    """The parts as ISO 8601 has them: date, time, and offset or ""."""
    if match := _ISO.fullmatch(text):
        return match["date"], match["time"], (match["offset"] or "").upper()
    if match := _SLASHES.fullmatch(text):
        return f"{match['year']}-{match['month']}-{match['day']}", match["time"], ""
    if _DATE_ONLY.fullmatch(text):
        advice = f"add the time of day: {text} 10:30:00"
    elif _LOST_PLUS.fullmatch(text):
        advice = "its offset has lost the plus sign: in a URL or a form, write it as %2B"
    else:
        advice = f"write it like {_FORMS}"
    raise refusal(field, f"{quoted(text)} is not a date and time; {advice}")


def _swapped(text: str) -> str:
    match = _SLASHES.fullmatch(text)
    return "; dates with slashes are mm/dd/yyyy" if match and match["month"] > "12" else ""


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones() - _NO_PLACES)


@cache
def _zone_spellings() -> Mapping[str, str]:
    """Folded spellings to zones: a whole name, or its last part ("kolkata")."""
    zones = sorted(_zone_names())
    last_parts = {zone.rpartition("/")[2].casefold(): zone for zone in zones}
    return last_parts | {zone.casefold(): zone for zone in zones}


def _check_year(moment: datetime, text: str, field: str) -> None:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise refusal(field, f"{quoted(text)} is not in the years {FIRST_YEAR} to {LAST_YEAR}")
