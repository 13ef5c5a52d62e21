"""Filters as SQL: by id, and within the accounts of a bound key."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from deliveries import CUSTOMER, post, ucid

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
