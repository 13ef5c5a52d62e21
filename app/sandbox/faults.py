"""What can go wrong: the faults, the decorations of a right answer, and how a script names them.

A *step* says how one request is answered: `ok`, a fault, decorations, a latency, or several, joined by `+`:

    reset_after      429:2      slow_drip:50ms      odd_spacing+bom      ok+latency:200ms      503+latency:1s

A *script* is a list of steps, also written with commas. `503*2` is two of it, `503*` is it for ever.
"""

from __future__ import annotations

import gzip
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache, lru_cache

from app.sandbox.latency import Latency, parse_duration
from app.sandbox.pages import HTML, Page, html_page, json_page
from app.sandbox.replies import Fields, Reply

MEBIBYTE = 1024 * 1024


class Ending(Enum):
    """What happens on the connection with the answer."""

    WHOLE = "sent in one piece"
    RESET = "not sent: the connection is reset"
    HANG = "never sent: the connection stays open and silent"
    DRIP = "sent one byte at a time"
    HALF = "cut in the middle of the body: the connection is closed"
    STREAM = "a body that seems to have no end"
    NOISE = "sent without an HTTP head: the connection is closed"


class Takes(Enum):
    """What the text after the colon of a fault means."""

    NOTHING = ""
    RETRY_AFTER = "[:RETRY-AFTER]"  # the header's text: seconds, a date, or nonsense
    INTERVAL = "[:INTERVAL]"  # between two bytes
    SIZE = "[:MIB]"  # of body


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    `applies`: whether CloudAgent carries the request out all the same. `page` is sent in place of the right
    answer; `status` in place of its 200.
    """

    name: str
    meaning: str
    applies: bool = False
    page: Callable[[], Page] | None = None
    status: int | None = None
    ending: Ending = Ending.WHOLE
    takes: Takes = Takes.NOTHING
    default: str = ""


@dataclass(frozen=True, slots=True)
class Decoration:
    """An odd but right way to send an answer: a change of its JSON members, or of the page that they make."""

    name: str
    meaning: str
    fields: Callable[[Fields], Fields] = lambda fields: fields
    page: Callable[[Page], Page] = lambda page: page


def _says(status: str, details: str, http_status: int = 200) -> Callable[[], Page]:
    return lambda: json_page({"status": status, "details": details}, http_status)


@cache
def _gzip_bomb() -> Page:
    return Page(200, gzip.compress(bytes(64 * MEBIBYTE)), headers=(("content-encoding", "gzip"),))


_FAULTS = (
    # The connection.
    Fault("reset_before", "reset before anything is applied", ending=Ending.RESET),
    Fault("reset_after", "applied, then reset without an answer", applies=True, ending=Ending.RESET),
    Fault("hang", "not applied, never answered", ending=Ending.HANG),
    Fault("hang_after", "applied, never answered", applies=True, ending=Ending.HANG),
    Fault("half", "applied, the right answer is cut in the middle", applies=True, ending=Ending.HALF),
    Fault(
        "slow_drip",
        "applied, the right answer comes byte by byte",
        applies=True,
        ending=Ending.DRIP,
        takes=Takes.INTERVAL,
        default="250ms",
    ),
    Fault(
        "not_http",
        "bytes that are not HTTP",
        page=lambda: Page(200, b"\x00\x16\xff" * 9),
        ending=Ending.NOISE,
    ),
    # Bodies that make no sense.
    Fault("html", "200 with a page of HTML", page=lambda: html_page(200, "We are under maintenance")),
    Fault("garbage", "200 with bytes that are no text", page=lambda: Page(200, bytes(range(128, 256)))),
    Fault("empty", "200 with no body", page=lambda: Page(200, b"", HTML)),
    Fault(
        "huge",
        "200 with a success that is followed by many MiB",
        page=lambda: Page(200, b'{"status": " Success", "details": "Disposition saved successfully", "padding": "'),
        ending=Ending.STREAM,
        takes=Takes.SIZE,
        default="64",
    ),
    Fault("gzip_bomb", "200 with 64 KiB that unpack to 64 MiB", page=_gzip_bomb),
    # HTTP status codes.
    Fault("429", "Too Many Requests", page=lambda: html_page(429, "Too Many Requests"), takes=Takes.RETRY_AFTER),
    Fault(
        "503",
        "Service Unavailable",
        page=lambda: html_page(503, "Service Unavailable"),
        takes=Takes.RETRY_AFTER,
    ),
    Fault("500", "Internal Server Error", page=lambda: html_page(500, "Internal Server Error")),
    Fault("500_success", "applied, 500 with the body of a success", applies=True, status=500),
    Fault(
        "redirect",
        "302 to another page",
        page=lambda: html_page(302, "Found", (("location", "/after-redirect"),)),
    ),
    Fault("404", "Not Found", page=lambda: html_page(404, "Not Found")),
    Fault("401", "Unauthorized", page=_says("Fail", "Authentication fails", 401)),
    Fault("403", "Forbidden", page=lambda: html_page(403, "Forbidden")),
    # CloudAgent's own words.
    Fault(
        "error",
        "the transient Error",
        page=_says("Error", "Unable to Dispose . Please retry after some time."),
    ),
    Fault("max_limit", "the limit of requests, told in the body", page=_says("Error", "Max limit exceeded")),
    Fault("unknown_fail", "a Fail in unknown words", page=_says("Fail", "Campaign is archived")),
    Fault("unknown_error", "an Error in unknown words", page=_says("Error", "ORA-12541: no listener")),
    Fault("unknown_status", "a status that is none of the three", page=_says("Maybe", "Disposition noted")),
    Fault("auth_fail", "credentials refused, though they are right", page=_says("Fail", "Authentication fails")),
    Fault("invalid_action", "the action refused, though it is right", page=_says("Fail", "Invalid action->set")),
    Fault("empty_disposition", "a code missed, though there is one", page=_says("Fail", "Empty disposition code")),
)
FAULTS: dict[str, Fault] = {fault.name: fault for fault in _FAULTS}


def _texts(change: Callable[[str], str]) -> Callable[[Fields], Fields]:
    return lambda fields: {key: change(text) if isinstance(text, str) else text for key, text in fields.items()}


def _keys(change: Callable[[str], str]) -> Callable[[Fields], Fields]:
    return lambda fields: {change(key): text for key, text in fields.items()}


_DECORATIONS = (
    Decoration(
        "odd_spacing",
        "spaces around and inside the texts, and around the JSON",
        fields=_texts(lambda text: f"  {text.replace(' ', '  ')} "),
        page=lambda page: replace(page, body=b" \r\n " + page.body + b" \n\n"),
    ),
    Decoration("upper_case", "texts in upper case", fields=_texts(str.upper)),
    Decoration("lower_case", "texts in lower case", fields=_texts(str.lower)),
    Decoration("key_order", "members the other way round", fields=lambda fields: dict(reversed(fields.items()))),
    Decoration("key_case", "names of members capitalised", fields=_keys(str.capitalize)),
    Decoration(
        "message",
        "`message` in place of `details`",
        fields=_keys(lambda key: "message" if key == "details" else key),
    ),
    Decoration(
        "extra_keys",
        "members that nobody asked for",
        fields=lambda fields: {
            "data": None,
            "code": 0,
            **fields,
            "meta": {"status": "ignored", "node": "ca-7"},
        },
    ),
    Decoration("bom", "a byte-order mark first", page=lambda page: replace(page, body=b"\xef\xbb\xbf" + page.body)),
    Decoration("wrong_content_type", "JSON called HTML", page=lambda page: replace(page, content_type=HTML)),
)
DECORATIONS: dict[str, Decoration] = {decoration.name: decoration for decoration in _DECORATIONS}


@dataclass(frozen=True, slots=True)
class Step:
    """How one request is answered; `text` is how it was written, empty for the plain right answer."""

    text: str = ""
    fault: Fault | None = None
    argument: str = ""
    decorations: tuple[Decoration, ...] = ()
    latency: Latency | None = None
    for_ever: bool = False

    @property
    def ending(self) -> Ending:
        """What happens on the connection."""
        return self.fault.ending if self.fault else Ending.WHOLE

    @property
    def applies(self) -> bool:
        """Whether CloudAgent carries the request out."""
        return self.fault is None or self.fault.applies

    def page(self, reply: Reply | None) -> Page:
        """The answer: the fault's own, else CloudAgent's `reply` as the step decorates it."""
        if self.fault is not None and self.fault.page is not None:
            page = self.fault.page()
            if self.argument and self.fault.takes is Takes.RETRY_AFTER:
                page = replace(page, headers=(*page.headers, ("retry-after", self.argument)))
            return page
        if reply is None:
            return Page(200)
        status = self.fault.status if self.fault and self.fault.status else 200
        return _right_answer(reply, status, self.decorations)


@lru_cache(maxsize=256)  # nearly all answers are one of a dozen
def _right_answer(reply: Reply, status: int, decorations: tuple[Decoration, ...]) -> Page:
    fields = reply.fields
    for decoration in decorations:
        fields = decoration.fields(fields)
    page = json_page(fields, status)
    for decoration in decorations:
        page = decoration.page(page)
    return page


OK = Step()

_REPEATED = re.compile(r"(?P<step>.+?)\*(?P<times>\d*)")


@lru_cache(maxsize=1024)
def parse_step(text: str) -> Step:
    """One step, such as `503:5+latency:1s`. Raises `ValueError` naming what is not known."""
    step = Step(text="" if text == "ok" else text)
    for part in text.split("+"):
        name, _, argument = part.strip().partition(":")
        step = _with_part(step, name, argument)
    if step.fault is not None and step.fault.page is not None and step.decorations:
        raise ValueError(f"{text!r} decorates a right answer that {step.fault.name} never sends: drop one of the two")
    return step


def _with_part(step: Step, name: str, argument: str) -> Step:
    if name == "latency":
        return replace(step, latency=Latency.parse(argument))
    if fault := FAULTS.get(name):
        if step.fault is not None:
            raise ValueError(f"{step.fault.name} and {name} can't both happen to one request: name one of them")
        return replace(step, fault=fault, argument=_checked_argument(fault, argument or fault.default))
    if argument or (name not in DECORATIONS and name != "ok"):
        known = ", ".join(["ok", "latency:5ms", *FAULTS, *DECORATIONS])
        raise ValueError(f"{name!r} is not a fault that the sandbox knows: use {known}")
    if name == "ok":
        return step
    # In the order of the table, however they were written: the byte-order mark goes on last, to come first.
    wanted = {decoration.name for decoration in step.decorations} | {name}
    return replace(step, decorations=tuple(DECORATIONS[known] for known in DECORATIONS if known in wanted))


def _checked_argument(fault: Fault, argument: str) -> str:
    if argument and fault.takes is Takes.NOTHING:
        raise ValueError(f"{fault.name} takes nothing after a colon, and {argument!r} was given")
    if fault.takes is Takes.INTERVAL:
        parse_duration(argument)
    if fault.takes is Takes.SIZE and not argument.isdigit():
        raise ValueError(f"{fault.name}:{argument} must be a whole number of MiB")
    if not argument.isprintable():
        raise ValueError(f"{fault.name} takes printable text after the colon, not {argument!r}")
    return argument


def describe() -> str:
    """One line per fault and per decoration, for `wrapup sandbox --help`."""
    lines = [f"{fault.name}{fault.takes.value}: {fault.meaning}" for fault in FAULTS.values()]
    return "\n".join(lines + [f"{decoration.name}: {decoration.meaning}" for decoration in DECORATIONS.values()])


def parse_script(script: str | Iterable[str]) -> deque[Step]:
    """The steps of a script. Raises `ValueError` naming what is not known."""
    steps: deque[Step] = deque()
    for text in script.split(",") if isinstance(script, str) else script:
        repeated = _REPEATED.fullmatch(text.strip())
        if repeated is None:
            steps.append(parse_step(text.strip()))
        elif repeated["times"]:
            steps.extend([parse_step(repeated["step"])] * int(repeated["times"]))
        else:
            steps.append(replace(parse_step(repeated["step"]), for_ever=True))
    return steps
