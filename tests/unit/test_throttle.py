"""The throttle on guessing."""

from __future__ import annotations

from app.services.throttle import Throttle


def test_after_so_many_wrong_ones_there_is_a_wait_until_the_window_is_over() -> None:
    now = [100.0]
    throttle = Throttle(2, 60.0, lambda: now[0])
    throttle.count("a")
    assert throttle.wait("a") == 0
    now[0] += 10
    throttle.count("a")
    assert throttle.wait("a") == 51  # seconds, rounded up: it is never too short
    assert throttle.wait("b") == 0
    now[0] += 50
    assert throttle.wait("a") == 0


def test_what_was_right_is_taken_back_or_forgives_all() -> None:
    throttle = Throttle(2, 60.0, lambda: 0.0)
    for _ in range(2):
        throttle.count("a")
        throttle.count("b")
    throttle.take_back("a")
    throttle.forget("b")
    throttle.take_back("unknown")
    assert (throttle.wait("a"), throttle.wait("b")) == (0, 0)
    throttle.count("a")
    throttle.count("b")
    assert throttle.wait("a") > 0
    assert throttle.wait("b") == 0
