"""The fuse of one client: how many requests pass, when more do, and what the client is told. Time is passed in."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.errors import RateLimited
from app.web.limits import ClientLimits


def told(limits: ClientLimits, client: str, now: float) -> bytes:
    """The ``RateLimit`` header of a request, whether it passes or not."""
    scope: dict[str, Any] = {"wrapup.headers": []}
    try:
        limits.take(client, now, scope)
    finally:
        headers = dict(scope["wrapup.headers"])
        assert headers.get(b"ratelimit-policy", b'"default";q=4;w=1') == b'"default";q=4;w=1'
    return headers.get(b"ratelimit", b"")


def passes(limits: ClientLimits, client: str, now: float) -> bool:
    try:
        limits.take(client, now, {})
    except RateLimited:
        return False
    return True


def test_a_seconds_requests_may_come_at_once_and_no_more() -> None:
    limits = ClientLimits(4)
    assert [told(limits, "crm", 100.0) for _ in range(4)] == [b'"default";r=%d;t=1' % left for left in (3, 2, 1, 0)]
    with pytest.raises(RateLimited) as refused:
        limits.take("crm", 100.0, {})
    assert refused.value.retry_after == 1
    assert "4 requests a second" in str(refused.value)


def test_who_is_refused_is_told_that_nothing_is_left() -> None:
    limits = ClientLimits(1)
    limits.take("crm", 100.0, {})
    scope: dict[str, Any] = {"wrapup.headers": []}
    with pytest.raises(RateLimited):
        limits.take("crm", 100.5, scope)
    assert scope["wrapup.headers"] == [
        (b"ratelimit-policy", b'"default";q=1;w=1'),
        (b"ratelimit", b'"default";r=0;t=1'),
    ]


def test_one_more_passes_for_each_part_of_the_second() -> None:
    limits = ClientLimits(4)
    assert [passes(limits, "crm", 100.0) for _ in range(5)] == [True] * 4 + [False]
    assert [passes(limits, "crm", 100.25) for _ in range(2)] == [True, False]
    assert [passes(limits, "crm", 100.75) for _ in range(3)] == [True, True, False]
    assert [passes(limits, "crm", 1000.0) for _ in range(5)] == [True] * 4 + [False]


def test_who_keeps_asking_too_fast_gets_no_less_than_its_rate() -> None:
    limits = ClientLimits(100)
    assert sum(passes(limits, "crm", 100 + number / 1000) for number in range(10_000)) == 100 + 999


def test_no_client_spends_what_is_anothers() -> None:
    limits = ClientLimits(1)
    assert [passes(limits, client, 100.0) for client in ("crm", "crm", "dialler")] == [True, False, True]


def test_without_a_limit_all_passes_and_nothing_is_told() -> None:
    limits = ClientLimits(0)
    assert {told(limits, "crm", 100.0) for _ in range(1000)} == {b""}
