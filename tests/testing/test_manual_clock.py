"""The clock of tests moves when told, and only then."""

from __future__ import annotations

import datetime as dt
import threading

import pytest

from kalends.clock import MAX_US, US, Clock
from kalends.errors import ValidationFailed
from kalends.testing import ManualClock


def test_advance_moves_both_clocks_and_jump_the_wall_alone() -> None:
    clock: Clock = ManualClock(5 * US)
    assert isinstance(clock, ManualClock)
    clock.advance(1.5)
    clock.jump(-3.0)
    assert (clock.now_us(), clock.monotonic()) == (3_500_000, 1.5)
    assert clock.real_seconds(1.0) is None


def test_many_small_steps_add_up_exactly() -> None:
    clock = ManualClock()
    for _ in range(10_000):
        clock.advance(0.1)
    assert clock.monotonic() == 1000.0


def test_a_start_may_be_an_aware_datetime_and_never_a_naive_one() -> None:
    clock = ManualClock(dt.datetime(1970, 1, 2, tzinfo=dt.UTC))
    assert clock.now_us() == 86_400 * US
    with pytest.raises(ValidationFailed):
        ManualClock(dt.datetime(1970, 1, 2))  # noqa: DTZ001  (naive on purpose)


def test_subscribers_hear_of_each_move_until_they_cancel() -> None:
    clock, heard = ManualClock(), []
    cancel = clock.on_change(lambda: heard.append(clock.now_us()))
    clock.advance(1.0)
    clock.jump(1.0)
    cancel()
    cancel()
    clock.advance(1.0)
    assert heard == [US, 2 * US]


@pytest.mark.parametrize("step", [-0.001, float("nan"), float("inf"), 1e18])
def test_an_impossible_step_is_refused_and_moves_nothing(step: float) -> None:
    clock = ManualClock()
    with pytest.raises(ValidationFailed):
        clock.advance(step)
    with pytest.raises(ValidationFailed):
        clock.jump(MAX_US / US + 1)
    assert (clock.now_us(), clock.monotonic()) == (0, 0.0)


def test_moves_from_many_threads_all_count() -> None:
    clock = ManualClock()

    def step() -> None:
        for _ in range(500):
            clock.advance(0.001)

    threads = [threading.Thread(target=step) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    assert clock.monotonic() == 2.0
