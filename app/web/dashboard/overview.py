"""The overview: is anything wrong, whose is it, what do I do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.domain.failures import Owner
from app.domain.lifecycle import State
from app.services.attention import Kind, Need
from app.services.trends import Trend
from app.storage.accounts import Account
from app.web.auth import Wired
from app.web.dashboard import words
from app.web.dashboard.charts import Chart, line_chart, settled
from app.web.dashboard.rendering import address, number, render, span
from app.web.dashboard.routing import PageRoute
from app.web.dashboard.visitors import Viewer, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

WAITING = (State.QUEUED, State.SENDING, State.RETRYING, State.HELD)
"""Not final yet."""

_OUTCOMES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Item:
    """One line of what needs a person: what, why, whose it is, since when, and the next click."""

    weight: str
    icon: str
    what: str
    why: str
    owner: str | None
    address: str
    click: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its name, its unit and the page that shows what is behind it."""

    name: str
    value: str
    address: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """How an account does."""

    account: Account
    waiting: int
    delivered: int
    failed: int


@router.get("/")
async def show(request: Request, services: Wired, visitor: Viewer) -> Response:
    """All at a glance."""
    stats = await services.reports.stats(visitor.caller)
    needs = await services.attention.needs(visitor.caller, stats)
    trend = await services.trends.last_hour(visitor.caller)
    accounts = [one for one in await services.accounts.all() if visitor.caller.owns(one.customer)]
    return render(
        request,
        "overview.html",
        needs=[_item(need, visitor) for need in needs],
        figures=_figures(stats),
        charts=_charts(trend, ZoneInfo(services.settings.time_zone)),
        outcomes=_shares(trend.outcomes),
        accounts=[_row(one, stats["accounts"].get(one.customer, {})) for one in accounts],
    )


def _item(need: Need, visitor: Visitor) -> Item:
    about: Mapping[str, Any] = need.about or {}
    match need.kind:
        case Kind.NOBODY_DELIVERS:
            what = "Nothing is delivered"
            return Item("bad", "alert", what, need.detail, Owner.WRAPUP, "/dispositions?state=queued", "What waits")
        case Kind.LATE:
            what = f"Deliveries fall behind: the oldest has been due for {span(need.seconds)}"
            why = "CloudAgent is slow, an account is at its limits, or too few workers run."
            waiting = address("/dispositions", state=[State.QUEUED, State.RETRYING])
            return Item("bad", "queued", what, why, Owner.WRAPUP, waiting, "What waits")
        case Kind.HOLD:
            what = f"{about['account']} is on hold: {number(need.count)} waiting"
            where = _account(about["account"])
            return Item("bad", "held", what, about["hint"], about["owner"], where, "Open the account", about["held_at"])
        case Kind.NO_ANSWER:
            what = f"CloudAgent does not answer for {about['account']}: {number(need.count)} waiting"
            where = _account(about["account"])
            return Item("bad", "retrying", what, about["hint"], about["owner"], where, "Open the account")
        case Kind.FAILURE:
            about = visitor.sees_failure(about)
            what = f"{number(need.count)} failed: {words.outcome(about['cause'])} ({about['account']})"
            where = f"/failures/{about['id']}"
            click = "Mend it" if visitor.operates else "Look at it"
            return Item("warn", "failed", what, about["hint"], about["owner"], where, click, about["since"])
        case Kind.MORE_FAILURES:
            what = f"{number(need.count)} more {'kind' if need.count == 1 else 'kinds'} of failures"
            return Item("warn", "failed", what, "The largest stand above.", None, "/failures", "All failures")


def _account(customer: str) -> str:
    return f"/accounts/{quote(customer, safe='')}"


def _figures(stats: Mapping[str, Any]) -> list[Figure]:
    states, rates = stats["states"], stats["rates_per_minute"]
    in_line = [State.QUEUED, State.SENDING, State.RETRYING]
    return [
        Figure("Waiting", number(sum(states[one] for one in in_line)), address("/dispositions", state=in_line)),
        Figure("On hold", number(states[State.HELD]), address("/dispositions", state=State.HELD)),
        Figure(
            "Behind by",
            span(stats["oldest_due_seconds"]),
            address("/dispositions", state=[State.QUEUED, State.RETRYING]),
        ),
        Figure("Delivered", number(rates[State.DELIVERED]), "/dispositions?state=delivered", "a minute"),
        Figure("Failed", number(rates[State.FAILED]), "/dispositions?state=failed&from=1h", "a minute"),
        Figure("Failed in all", number(states[State.FAILED]), "/failures"),
    ]


def _charts(trend: Trend, zone: ZoneInfo) -> list[tuple[str, Chart]]:
    counts = {"came in": trend.came_in, "delivered": trend.delivered, "failed": trend.failed}
    rates = {name: settled(values) for name, values in counts.items()}
    latency = {_PERCENTILE_NAMES[share]: values for share, values in trend.latency_ms.items()}
    waiting = {"waiting": trend.waiting}
    return [
        ("rates", line_chart("Dispositions a minute", trend.minutes, rates, zone=zone, shown=number)),
        ("backlog", line_chart("Waiting for delivery", trend.minutes, waiting, zone=zone, shown=number)),
        ("latency", line_chart("How fast CloudAgent answers", trend.minutes, latency, zone=zone, shown=_ms)),
    ]


_PERCENTILE_NAMES = {50: "half in", 95: "95 % in", 99: "99 % in"}


def _ms(value: float) -> str:
    return f"{value:,.0f} ms" if value < 1000 else f"{number(round(value / 1000, 1))} s"


def _shares(outcomes: Mapping[str, int]) -> list[tuple[str, int, int]]:
    total = sum(outcomes.values())
    return [(name, count, round(100 * count / total)) for name, count in list(outcomes.items())[:_OUTCOMES_SHOWN]]


def _row(account: Account, states: Mapping[str, int]) -> Row:
    return Row(
        account=account,
        waiting=sum(states.get(one, 0) for one in WAITING),
        delivered=states.get(State.DELIVERED, 0),
        failed=states.get(State.FAILED, 0),
    )
