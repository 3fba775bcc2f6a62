"""The hub's thread: its timers, what it contains, what it notices, what it leaves behind."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import gevent
import pytest
from gevent.event import Event

from kalends.actors.hub import Hub, Timer
from kalends.clock import SystemClock
from kalends.futures import Future
from kalends.testing import ManualClock


def idle(hub: Hub) -> None:
    """Return once nothing on the hub moves."""
    hub.run(gevent.idle, 5.0)


def test_a_timer_never_fires_before_its_deadline(hub: Hub) -> None:
    early: Future[list[float]] = Future(20.0)
    misses: list[float] = []
    monotonic = SystemClock().monotonic

    def arm(left: int) -> None:
        if left == 0:
            early.resolve(misses)
            return
        # Busy work makes the loop's idea of the time stale, which lets gevent's timers fire early.
        until = monotonic() + 0.003
        while monotonic() < until:
            pass
        deadline = monotonic() + 0.004

        def fired() -> None:
            if monotonic() < deadline:
                misses.append(deadline - monotonic())
            arm(left - 1)

        hub.after(0.004, fired)

    hub.call(arm, 50)
    assert early.get() == []


def test_timers_fire_in_the_order_of_their_deadlines_when_the_clock_is_moved() -> None:
    clock = ManualClock()
    hub = Hub("manual", clock, stall_after=30.0)
    hub.start()
    fired: list[str] = []

    def arm() -> None:
        for seconds, name in ((3.0, "c"), (1.0, "a"), (2.0, "b"), (9.0, "late"), (0.0, "now")):
            hub.after(seconds, lambda name=name: fired.append(name))  # type: ignore[misc]  # a default binds the name

    hub.run(arm, 5.0)
    idle(hub)
    assert fired == ["now"]
    clock.advance(3.0)
    idle(hub)
    assert fired == ["now", "a", "b", "c"]
    assert hub.stop(5.0)


def test_a_timer_cancelled_by_another_of_the_same_instant_does_not_fire() -> None:
    clock = ManualClock()
    hub = Hub("manual", clock, stall_after=30.0)
    hub.start()
    fired: list[str] = []

    def arm() -> None:
        timers: list[Timer] = []

        def cancel_the_other() -> None:
            timers[0].cancel()

        hub.after(1.0, cancel_the_other)
        timers.append(hub.after(1.0, lambda: fired.append("second")))

    hub.run(arm, 5.0)
    clock.advance(1.0)
    idle(hub)
    assert fired == []
    assert hub.stop(5.0)


def test_cancelled_timers_with_far_deadlines_do_not_pile_up(hub: Hub) -> None:
    def churn() -> int:
        for _ in range(5_000):
            hub.after(1_000_000.0, lambda: None).cancel()
        return len(hub._timers)

    assert hub.run(churn, 5.0) < 200


@pytest.mark.parametrize("error", [ValueError(), SystemExit(3), KeyboardInterrupt(), SystemError()])
def test_what_a_greenlet_or_a_callback_raises_ends_there(
    hub: Hub, logged: list[dict[str, Any]], error: BaseException
) -> None:
    def fail() -> None:
        raise error

    hub.call(fail)
    hub.call(hub.spawn, fail)
    hub.call(hub.after, 0.0, fail)
    idle(hub)
    assert hub.run(lambda: 7, 5.0) == 7
    assert [entry["event"] for entry in logged] == ["hub_callback_failed"] * 3


def test_run_hands_back_what_the_function_raises(hub: Hub) -> None:
    def fail() -> None:
        raise SystemExit(4)

    with pytest.raises(SystemExit):
        hub.run(fail, 5.0)


def test_a_stalled_hub_is_noticed_with_the_stack_that_holds_it(
    logged: list[dict[str, Any]],
) -> None:
    hub = Hub("stalled", SystemClock(), stall_after=0.02)
    hub.start()
    let_go, seen = threading.Event(), threading.Event()

    def hold_the_hub() -> None:
        let_go.wait(10.0)

    hub.call(hold_the_hub)
    for _ in range(500):
        if any(entry["event"] == "hub_stalled" for entry in logged) or seen.wait(0.01):
            break
    let_go.set()
    assert hub.stop(5.0)
    stalls = [entry for entry in logged if entry["event"] == "hub_stalled"]
    assert "hold_the_hub" in stalls[0]["stack"]
    assert hub.stalls == len(stalls)


def test_stop_may_be_called_twice_from_two_threads_and_before_start() -> None:
    never = Hub("never", SystemClock())
    assert never.stop(0.05)
    hub = Hub("twice", SystemClock())
    hub.start()
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(hub.stop(5.0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    assert results == [True] * 4
    assert hub.stop(5.0)
    hub.call(lambda: None)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts through /proc")
def test_a_stopped_hub_leaves_no_thread_no_greenlet_and_no_open_file() -> None:
    def counts() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    def once() -> gevent.Greenlet[..., Any]:
        hub = Hub("leaver", SystemClock(), stall_after=0.5)
        hub.start()
        waiting: gevent.Greenlet[..., Any] = hub.run(lambda: gevent.spawn(Event().wait), 5.0)
        hub.run(lambda: gevent.spawn(lambda: None), 5.0)
        assert hub.stop(5.0)
        return waiting

    once()
    before = counts()
    for _ in range(5):
        once()
    deadline = time.monotonic() + 5.0
    while counts() > before and time.monotonic() < deadline:
        threading.Event().wait(0.01)  # the kernel lists a thread for a moment after its end
    files, threads = counts()
    assert files <= before[0]
    assert threads <= before[1]


def test_the_hub_of_the_calling_thread_is_not_used(hub: Hub) -> None:
    here = hub.run(lambda: (threading.get_ident(), id(gevent.get_hub()), hub.here), 5.0)
    assert here[0] == hub.ident != threading.get_ident()
    assert here[2]
    assert not hub.here
    assert "gevent.monkey" not in sys.modules or not gevent.monkey.is_module_patched("socket")


def test_a_loop_that_has_lost_count_of_what_it_waits_for_goes_on(hub: Hub) -> None:
    def lose() -> None:
        # As libev and a callback from another thread lose one, now and then.
        for _ in range(hub.loop.activecnt // 2):
            hub.loop.unref()

    hub.run(lose, 5.0)
    left = hub.loop.activecnt
    assert left > 1000
    answered: Future[bool] = Future(5.0)
    hub._ask(lambda: answered.set(True))  # as the watchdog does, each time
    assert answered.get()
    assert hub.loop.activecnt > left
