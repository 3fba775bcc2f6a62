"""What the clocks tell: jumps, and time in which the process stood still."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.actors.stopwatch import Noticed, Stopwatch, jump_of
from kalends.testing import ManualClock


class RealClock(ManualClock):
    """Moved by hand, and taken for a real one."""

    def real_seconds(self, seconds: float) -> float | None:
        return seconds


NOTHING = Noticed(None, None)


@given(st.floats(0, 1e6), st.floats(-1e6, 1e6))
def test_a_jump_is_what_the_wall_clock_moved_beyond_the_other(passed: float, step: float) -> None:
    jump = jump_of(round((passed + step) * 1e6), passed)
    if abs(step) > 1.001:
        assert jump == pytest.approx(step, abs=1e-3)
    elif abs(step) < 0.999:
        assert jump is None


def test_a_sleep_that_ends_in_time_is_nothing() -> None:
    clock = RealClock()
    watch = Stopwatch(clock)
    for _ in range(3):
        watch.expect(30.0)
        clock.advance(32.9)
        assert watch.look() == NOTHING


def test_a_sleep_that_ends_late_is_standing_still_and_is_told_once() -> None:
    clock = RealClock()
    watch = Stopwatch(clock)
    watch.expect(2.0)
    clock.advance(12.0)
    assert watch.look() == Noticed(None, 10.0)
    assert watch.look() == NOTHING
    clock.advance(100.0)  # nobody slept: a transaction may take its time
    assert watch.look() == NOTHING


def test_a_machine_that_slept_is_no_jump_of_its_clock() -> None:
    clock = ManualClock()
    watch = Stopwatch(clock)
    clock.suspend(3600.0)
    clock.advance(5.0)
    assert watch.look() == Noticed(None, 3600.0)
    clock.suspend(2.0)
    assert watch.look() == NOTHING
    clock.suspend(100.0)
    clock.jump(-7.0)
    assert watch.look() == Noticed(-7.0, 100.0)


def test_a_clock_moved_by_hand_passes_in_leaps() -> None:
    clock = ManualClock()
    watch = Stopwatch(clock)
    watch.expect(1.0)
    clock.advance(3600.0)
    assert watch.look() == NOTHING
