"""Filters as SQL: by id, by cause, and within the accounts of a bound key."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from deliveries import CUSTOMER, ask, post, ucid

from app.domain.filters import Filter, parse_filter
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")


async def found(services: Services, wanted: Filter) -> list[object]:
    return [one["id"] for one in (await services.reports.page(wanted, after=None, limit=100)).items]


async def test_ids_take_those_that_there_are_and_none_for_one_that_there_is_not(services: Services) -> None:
    first, _, third = [await post(services, ucid(number)) for number in range(3)]
    assert await found(services, Filter(ids=[third, first, uuid4()])) == [third, first]
    assert await found(services, Filter(ids=[uuid4()])) == []


async def test_what_is_not_the_callers_is_not_taken_whatever_is_asked(services: Services) -> None:
    mine = await post(services)
    for account, taken in (("other", []), (CUSTOMER, [mine])):
        for fields in ({}, {"id": str(mine)}, {"account": CUSTOMER}, {"from": "1h"}):
            wanted = parse_filter(fields, datetime.now(UTC), only_accounts=frozenset({account}))
            assert await found(services, wanted) == taken, fields


async def test_a_cause_finds_what_ran_out_by_its_last_outcome_in_lists_and_replays_alike(services: Services) -> None:
    ids = [await post(services, ucid(number)) for number in range(4)]
    for one, cause, outcome in zip(
        ids,
        ("attempts_exhausted", "expired", "attempts_exhausted", "invalid_agent"),
        ("no_reply", "unreachable", "unreachable", "invalid_agent"),
        strict=True,
    ):
        change = "UPDATE dispositions SET state = 'failed', cause = :cause, outcome = :outcome WHERE id = :id"
        await ask(services, change, id=one, cause=cause, outcome=outcome)
    for causes, taken in (
        (["no_reply"], ids[:1]),
        (["unreachable"], ids[1:3]),
        (["attempts_exhausted"], [ids[0], ids[2]]),
        (["no_reply", "invalid_agent"], [ids[0], ids[3]]),
        (["retry_later"], []),
    ):
        wanted = parse_filter({"state": "failed", "cause": causes}, datetime.now(UTC))
        assert await found(services, wanted) == taken[::-1]
        assert [one["id"] async for one in services.reports.export(wanted)] == taken
