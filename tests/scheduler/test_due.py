"""Due detection without real time: the clock moves when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import EventStatus, NotInitialized, cron, every, once
from kalends.clock import to_us
from kalends.testing import ManualClock

pytestmark = pytest.mark.on_both

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def test_nothing_runs_before_its_instant_and_it_runs_once_at_it(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", once(START.add(seconds=10)), name="t")
    virtual.advance(9.999)
    assert virtual.ran == []
    virtual.advance(0.001)
    assert virtual.ran == [("t", START.add(seconds=10))]
    virtual.advance(1000)
    assert virtual.fates(event) == {10: "succeeded"}
    assert virtual.scheduler.get_event(event.id).status is EventStatus.COMPLETED


def test_an_interval_runs_at_each_of_its_instants(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=1, anchor=START), name="t")
    for _ in range(5):
        virtual.advance(1)
    assert [due for _, due in virtual.ran] == [START.add(seconds=n) for n in range(1, 6)]
    assert virtual.fates(event) == dict.fromkeys([1.0, 2.0, 3.0, 4.0, 5.0], "succeeded")


def test_lateness_is_measured_from_the_due_instant(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", once(START.add(seconds=10)))
    virtual.advance(12)
    (execution,) = virtual.executions(event)
    assert execution.lateness == 2.0


def test_days_missed_are_one_execution_and_one_gap(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event(
        "tick", cron("0 * * * *"), name="t", catch_up_window=7200.0
    )
    virtual.advance(3 * 86_400)
    fates = list(virtual.fates(event).values())
    assert len(fates) == 72
    assert fates[-3:] == ["coalesced", "coalesced", "succeeded"]
    assert fates[:-3] == ["missed"] * 69
    assert virtual.ran == [("t", START.add(days=3))]


def test_a_year_of_missed_seconds_costs_no_loop_over_them(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=1, anchor=START), name="t")
    virtual.advance(365 * 86_400)
    gaps = virtual.scheduler.list_gaps(event_id=event.id).items
    assert len(gaps) == 2
    assert sum(gap.count for gap in gaps) + len(virtual.ran) == 365 * 86_400


def test_catch_up_all_runs_each_in_turn(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event(
        "tick", every(minutes=1, anchor=START), name="t", catch_up="all"
    )
    virtual.advance(300)
    virtual.settle()
    assert [due for _, due in virtual.ran] == [START.add(minutes=n) for n in range(1, 6)]
    assert set(virtual.fates(event).values()) == {"succeeded"}


def test_a_forward_jump_of_the_wall_clock_is_journalled_and_caught_up(
    virtual: Any, clock: ManualClock
) -> None:
    event = virtual.scheduler.schedule_event("tick", once(START.add(hours=1)), name="t")
    clock.jump(7200)
    virtual.advance(30)  # the longest sleep: by then somebody has looked at the clock
    assert virtual.ran == [("t", START.add(hours=1))]
    assert virtual.fates(event) == {3600: "succeeded"}
    (entry,) = virtual.journal("clock_jumped")
    assert entry.details["seconds"] == pytest.approx(7200)


def test_after_a_backward_jump_nothing_runs_twice_and_nothing_early(
    virtual: Any, clock: ManualClock
) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=60, anchor=START), name="t")
    virtual.advance(60)
    virtual.advance(60)
    clock.jump(-90)
    virtual.advance(30)
    virtual.advance(30)
    assert [due for _, due in virtual.ran] == [START.add(seconds=60), START.add(seconds=120)]
    virtual.advance(90)
    assert [due for _, due in virtual.ran][2:] == [START.add(seconds=180)]
    assert virtual.fates(event) == {60: "succeeded", 120: "succeeded", 180: "succeeded"}
    (entry,) = virtual.journal("clock_jumped")
    assert entry.details["seconds"] == pytest.approx(-90)


def test_the_loop_never_sleeps_longer_than_its_limit(
    make_virtual: Callable[..., Any], clock: ManualClock
) -> None:
    virtual = make_virtual(max_sleep=5.0).start()
    virtual.scheduler.schedule_event("tick", once(START.add(hours=1)), name="t")
    clock.jump(3600)  # tells nobody how much time has passed: only the loop's own look can
    virtual.advance(5)
    assert virtual.ran == [("t", START.add(hours=1))]


def test_an_event_created_while_the_loop_sleeps_is_noticed_at_once(virtual: Any) -> None:
    virtual.scheduler.schedule_event("tick", once(START.add(hours=1)), name="late")
    virtual.settle()
    virtual.scheduler.schedule_event("tick", once(START.add(seconds=1)), name="soon")
    virtual.advance(1)
    assert virtual.ran == [("soon", START.add(seconds=1))]


def test_an_instant_in_the_past_is_late_and_runs_once(virtual: Any) -> None:
    virtual.scheduler.schedule_event("tick", once(START.subtract(minutes=5)), name="t")
    virtual.settle()
    assert virtual.ran == [("t", START.subtract(minutes=5))]


def test_a_due_instant_while_the_event_still_runs_is_skipped_as_overlap(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("hold", every(seconds=10, anchor=START), name="t")
    virtual.clock.advance(10)
    assert virtual.held.acquire(timeout=10)
    virtual.advance(10)
    virtual.advance(10)
    assert virtual.fates(event).keys() == {10.0, 20.0, 30.0}
    assert list(virtual.fates(event).values())[1:] == ["overlap", "overlap"]
    virtual.let_go.set()
    virtual.settle()
    virtual.advance(10)
    assert virtual.fates(event) == {
        10: "succeeded", 20: "overlap", 30: "overlap", 40: "succeeded",
    }  # fmt: skip


def test_executions_of_an_event_that_allows_it_run_beside_each_other(virtual: Any) -> None:
    virtual.scheduler.schedule_event(
        "hold", every(seconds=10, anchor=START), name="t", overlap="allow_all"
    )
    virtual.clock.advance(10)
    assert virtual.held.acquire(timeout=10)
    virtual.clock.advance(10)
    assert virtual.held.acquire(timeout=10)
    assert len(virtual.ran) == 2


def test_claims_stop_at_the_limit_and_go_on_when_slots_are_free(
    make_virtual: Callable[..., Any],
) -> None:
    virtual = make_virtual(claim_limit=3, claim_batch=3, workers=8).start()
    virtual.scheduler.schedule_events(
        [{"job": "hold", "trigger": once(START.add(seconds=1))} for _ in range(10)]
    )
    virtual.clock.advance(1)
    for _ in range(3):
        assert virtual.held.acquire(timeout=10)
    assert not virtual.held.acquire(timeout=0.2)
    assert virtual.scheduler.status().in_flight == 3
    commits = virtual.scheduler.status().commits
    assert not virtual.held.acquire(timeout=0.2)
    assert virtual.scheduler.status().commits <= commits + 1  # it waits, it does not look for room
    virtual.let_go.set()
    for _ in range(7):
        assert virtual.held.acquire(timeout=10)


def test_a_disabled_scheduler_answers_and_runs_nothing(
    make_virtual: Callable[..., Any], clock: ManualClock
) -> None:
    virtual = make_virtual(enabled=False)
    virtual.scheduler.start()
    event = virtual.scheduler.schedule_event("tick", once(START.add(seconds=1)))
    clock.advance(100)
    with pytest.raises(NotInitialized):
        virtual.scheduler.trigger_now(event.id)
    assert virtual.scheduler.count_executions() == 0
    assert virtual.scheduler.status().state == "running"
    assert not virtual.scheduler.status().enabled


def test_jitter_delays_the_start_and_leaves_the_instant_as_it_is(virtual: Any) -> None:
    rule = every(seconds=10, anchor=START).jitter(5)
    event = virtual.scheduler.schedule_event("tick", rule)
    delay = event.trigger.delay_us(to_us(START.add(seconds=10)), event.id) / 1_000_000
    assert 0 < delay <= 5
    virtual.advance(10 + delay - 0.01)
    assert virtual.ran == []
    virtual.advance(0.02)
    (execution,) = [x for x in virtual.executions(event) if x.fate == "succeeded"]
    assert execution.due == START.add(seconds=10)
    assert delay <= execution.lateness <= delay + 0.02
