"""The ticker: in time, and quiet otherwise."""

from __future__ import annotations

import threading

from kalends.clock import SystemClock
from kalends.jobs.ticker import Ticker
from kalends.testing import ManualClock


def test_a_bug_in_what_it_calls_does_not_end_it() -> None:
    called = threading.Semaphore(0)

    def fire() -> int | None:
        called.release()
        raise RuntimeError("bug")

    clock = ManualClock(0)
    ticker = Ticker(clock, fire)
    ticker.start()
    assert called.acquire(timeout=10)
    clock.advance(2)
    assert called.acquire(timeout=10)
    ticker.stop()


def test_while_nothing_is_expected_it_does_not_wake() -> None:
    calls: list[int] = []
    ticker = Ticker(SystemClock(), lambda: calls.append(1))
    ticker.start()
    threading.Event().wait(1.2)
    ticker.stop()
    assert len(calls) <= 2


def test_a_jump_of_the_wall_clock_is_noticed_within_a_second() -> None:
    class Jumping(SystemClock):
        ahead = 0

        def now_us(self) -> int:
            return super().now_us() + self.ahead

    clock, fired = Jumping(), threading.Event()
    due = clock.now_us() + 3_600_000_000

    def fire() -> int | None:
        if clock.now_us() >= due:
            fired.set()
            return None
        return due

    ticker = Ticker(clock, fire)
    ticker.start()
    assert not fired.wait(0.05)
    clock.ahead = 3_600_000_000
    assert fired.wait(1.5)
    ticker.stop()


def test_stop_before_start_and_twice_is_fine() -> None:
    ticker = Ticker(SystemClock(), lambda: None)
    ticker.stop()
    ticker.stop()
