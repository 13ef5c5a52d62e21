"""Delivery against the stand-in."""

from __future__ import annotations

import pytest
from deliveries import *

pytestmark = pytest.mark.usefixtures("account")

@pytest.mark.parametrize("n", range(10))
async def test_speed(services, settings, n):
    one = await post(services)
    [shown] = await deliver(services, settings, [one])
    assert shown["state"] == "delivered"
