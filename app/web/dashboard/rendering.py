"""Pages out of templates: what every template knows, and how values look."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from app.web.auth import services_of
from app.web.dashboard import words
from app.web.dashboard.static import address_of_file

_HERE = Path(__file__).parent

PAGES = (
    ("/", "Overview"),
    ("/failures", "Failures"),
    ("/dispositions", "Dispositions"),
    ("/accounts", "Accounts"),
    ("/replays", "Replays"),
    ("/audit", "Audit"),
)

_SECTIONS = {"schedules": "/replays"}
"""Pages that have no place of their own in the bar, and the one under which they are."""

NOTHING = Markup('<span class="nothing">—</span>')


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of ``template``. The frame around it is that of the request's visitor, if one is signed in."""
    said = words.SAID.get(request.query_params.get("said", ""))
    frame: dict[str, Any] = {
        "visitor": getattr(request.state, "visitor", None),
        "path": request.url.path,
        "section": _SECTIONS.get(request.url.path.split("/")[1], request.url.path),
        "zone": ZoneInfo(services_of(request).settings.time_zone),
        "now": datetime.now(UTC),
        "said": said,
        "faults": [],
        "pages": PAGES,
    }
    return HTMLResponse(_environment().get_template(template).render(frame | values), status)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,  # whatever it is and wherever it comes from
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "when": when,
        "moment": moment,
        "number": number,
        "span": span,
        "or_nothing": or_nothing,
        "outcome": words.outcome,
        "actor": words.actor,
        "source": words.source,
        "result": words.result,
        "field": words.field,
        "ms": milliseconds,
        "marked": marked,
    }
    environment.globals |= {"file": address_of_file, "words": words, "address": address}
    return environment


@pass_context
def when(context: Context, value: datetime | None) -> Markup:
    """A moment in the pages' time zone: the time alone for today, else with its day. Exact, in UTC, on hover."""
    if value is None:
        return NOTHING
    local, today = value.astimezone(context["zone"]), context["now"].astimezone(context["zone"]).date()
    form = "%H:%M:%S" if local.date() == today else "%d %b, %H:%M:%S" if local.year == today.year else "%d %b %Y, %H:%M"
    exact = f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03}Z"
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(exact, local.strftime(form))


@pass_context
def moment(context: Context, value: str) -> str | Markup:
    """When something begins or ends, as a filter has it: a moment, or so long before."""
    try:
        return when(context, datetime.fromisoformat(value))
    except ValueError:
        return f"{value} before"


def number(value: float) -> str:
    """A count with its thousands apart; a rate to one digit after the point."""
    return f"{value:,.1f}" if isinstance(value, float) and value % 1 else f"{int(value):,}"


def span(seconds: float) -> str:
    """How long, in its two largest units: "3 min 20 s"."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def milliseconds(value: float | None) -> str | Markup:
    """How long a call took."""
    if value is None:
        return NOTHING
    return f"{value:,.0f} ms" if value < 1000 else f"{value / 1000:,.1f} s"


def or_nothing(value: object) -> object:
    """The value, or a dash where there is none."""
    return NOTHING if value is None or value == "" else value


def marked(text: str) -> Markup:
    """Advice, with the commands in it set apart as such: they stand between backticks, as on the command line."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return escape(text)  # a backtick without another is only a backtick
    return Markup().join(
        Markup("<code>{}</code>").format(piece) if index % 2 else escape(piece) for index, piece in enumerate(pieces)
    )


def address(path: str, fields: Mapping[str, Any] | None = None, **more: Any) -> str:
    """An address of ours with a query; several values of a field are repeated, None is left out."""
    query = {name: value for name, value in {**(fields or {}), **more}.items() if value is not None}
    return f"{path}?{urlencode(query, doseq=True)}" if query else path
