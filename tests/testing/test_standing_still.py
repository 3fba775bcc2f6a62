"""Processes of a world that stand still, have other clocks, or die in the middle of a group."""

from __future__ import annotations

from typing import Any

import pendulum
import pytest

from kalends import AskTimeout, ValidationFailed, every, once
from kalends.clock import US, to_us
from kalends.testing import ManualClock, ProcessKilled, StorageStep, VirtualScheduler
from kalends.testing.clock import SkewedClock

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def test_what_stands_still_runs_nothing_until_it_is_thawed(make: Any) -> None:
    scheduler = make()
    scheduler.schedule_event("tick", once(START.add(seconds=10)))
    reader = scheduler.reader().start()
    scheduler.freeze().advance(60)
    assert reader.count_executions(fate="succeeded") == 0
    with pytest.raises(AskTimeout):
        scheduler.count_events()
    scheduler.thaw()
    assert reader.count_executions(fate="succeeded") == 1
    reader.kill()


def test_one_that_stood_still_past_its_lease_changes_nothing_that_was_taken_over(make: Any) -> None:
    slow = make(lease=15.0, durations={"tick": 12.0})
    other = slow.peer(lease=15.0, durations={"tick": 12.0}).start()
    slow.schedule_event("tick", once(START.add(seconds=10)))
    slow.advance(11)
    holder, rescuer = (slow, other) if slow.status().in_flight else (other, slow)
    holder.freeze().advance(40)
    holder.thaw().advance(60)
    (execution,) = rescuer.list_executions().items
    nodes = [attempt.node for attempt in execution.attempts]
    assert [attempt.outcome for attempt in execution.attempts] == ["lost", "succeeded"]
    assert nodes == [holder.status().node, rescuer.status().node]
    other.kill()


def test_it_may_stand_still_between_a_commit_and_the_answer(make: Any) -> None:
    frozen: list[StorageStep] = []

    def stop(step: StorageStep) -> None:
        if armed and step is StorageStep.COMMITTED and not frozen:
            frozen.append(step)
            scheduler.freeze()

    armed: list[bool] = []
    scheduler: VirtualScheduler = make(probe=stop)
    event = scheduler.schedule_event("tick", once(START.add(seconds=10)))
    scheduler.advance(5)
    armed.append(True)
    scheduler.advance(60)
    reader = scheduler.reader().start()
    assert frozen
    assert reader.list_executions(event_id=event.id).items[0].fate == "pending", "claimed, no more"
    scheduler.thaw().advance(0)
    assert reader.list_executions(event_id=event.id).items[0].fate == "succeeded"
    reader.kill()


def test_a_process_that_stands_still_can_be_killed(make: Any) -> None:
    scheduler = make()
    scheduler.schedule_event("tick", every(seconds=10, anchor=START))
    scheduler.freeze().advance(60)
    assert not scheduler.kill().alive
    assert scheduler.start().advance(10).count_executions(fate="succeeded") == 2


def test_a_scheduler_may_be_ahead_of_the_others(make: Any) -> None:
    scheduler = make().kill()
    scheduler.skew = 2.5
    scheduler.start()
    scheduler.schedule_event("tick", once(START.add(seconds=10)))
    scheduler.advance(7.4)
    assert scheduler.count_executions(fate="succeeded") == 0
    scheduler.advance(0.1)
    (execution,) = scheduler.list_executions().items
    assert execution.started_at == START.add(seconds=10)
    assert scheduler.now == START.add(seconds=7.5)


def test_a_skewed_clock_moves_with_the_other() -> None:
    clock = ManualClock(START)
    skewed = SkewedClock(clock, -1.5)
    clock.advance(10)
    clock.jump(100)
    assert skewed.now_us() == to_us(START) + round(108.5 * US)
    assert skewed.monotonic() == clock.monotonic()
    with pytest.raises(ValidationFailed):
        SkewedClock(clock, float("nan"))


def test_a_kill_within_a_unit_leaves_nothing_of_the_units_beside_it(make: Any) -> None:
    armed: list[bool] = []

    def strike(step: StorageStep) -> None:
        if armed and step is StorageStep.UNIT:
            scheduler.kill()

    scheduler = make(probe=strike)
    reader = scheduler.reader().start()
    asked = [scheduler.events.create("tick", every(hours=1), name=name) for name in ("a", "b")]
    armed.append(True)
    with pytest.raises(ProcessKilled):
        asked[0].get()
    assert reader.count_events() == 0
    reader.kill()
