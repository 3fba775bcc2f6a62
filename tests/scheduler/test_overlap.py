"""Runs that collide, on real threads: told to stop, ended, in line, under a limit, by priority."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import Event, current, every
from kalends.storage.models import ExecutionRow

pytestmark = pytest.mark.on_both

START = pendulum.datetime(2027, 1, 1, tz="UTC")
Make = Callable[..., Any]


class Stopped(Exception):
    """The job saw that it was told to stop."""


class Heeding:
    """A job that runs until it is told to stop, and then raises."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)

    def __call__(self) -> None:
        self.begun.release()
        pause = threading.Event()
        for _ in range(6000):
            if current().cancelled:
                raise Stopped
            pause.wait(0.005)

    def wait(self) -> None:
        assert self.begun.acquire(timeout=10)


@pytest.fixture
def heeding() -> Heeding:
    return Heeding()


def tens(virtual: Any, job: str, name: str = "event", **policies: Any) -> Event:
    """An event that is due every ten seconds."""
    rule = every(seconds=10, anchor=START)
    event: Event = virtual.scheduler.schedule_event(job, rule, name=name, **policies)
    return event


def due_at(virtual: Any, event: Event, second: float) -> Any:
    """The execution for an instant, in seconds since START; None where there is none."""
    for execution in virtual.executions(event):
        if execution.due == START.add(seconds=second):
            return execution
    return None


def test_what_is_told_to_stop_makes_way_at_once_and_is_cancelled(
    make_virtual: Make, heeding: Heeding, until: Callable[..., Any]
) -> None:
    virtual = make_virtual()
    virtual.registry.register(heeding, "heed")
    virtual.start()
    event = tens(virtual, "heed", overlap="cancel_other")
    virtual.advance(10)
    heeding.wait()
    virtual.advance(10)
    heeding.wait()
    first = until(lambda: (one := due_at(virtual, event, 10)).ended_at and one)
    assert (first.fate, first.reason, first.cancel_requested) == ("cancelled", "overlap", True)
    assert first.error.type.endswith("Stopped")
    assert due_at(virtual, event, 20).ended_at is None
    assert virtual.clock.now_us() == round(START.add(seconds=20).timestamp() * 1e6)


def test_what_is_terminated_is_ended_at_once_and_its_slot_and_line_go_on(
    make_virtual: Make, until: Callable[..., Any]
) -> None:
    virtual = make_virtual(workers=1)
    virtual.start()
    event = tens(virtual, "hold", overlap="terminate_other")
    virtual.clock.advance(10)
    assert virtual.held.acquire(timeout=10)
    virtual.clock.advance(10)
    assert virtual.held.acquire(timeout=10), "the one thread that counts is free"
    first = due_at(virtual, event, 10)
    assert (first.fate, first.reason, first.still_running) == ("cancelled", "overlap", True)
    assert first.ended_at == START.add(seconds=20)
    assert due_at(virtual, event, 20).ended_at is None
    virtual.let_go.set()
    first = until(lambda: not (one := due_at(virtual, event, 10)).still_running and one)
    assert (first.fate, first.result, first.started_at) == (
        "cancelled",
        None,
        START.add(seconds=10),
    )
    virtual.settle()
    assert virtual.fates(event) == {10: "overlap", 20: "succeeded"}
    assert virtual.scheduler.verify().ok


def test_what_waits_begins_when_the_other_one_has_ended_not_at_the_next_look(
    virtual: Any, until: Callable[..., Any]
) -> None:
    event = tens(virtual, "hold", overlap="buffer_one")
    virtual.clock.advance(10)
    assert virtual.held.acquire(timeout=10)
    for _ in range(2):
        virtual.advance(10)
    assert [virtual.fates(event)[second] for second in (20, 30)] == ["pending", "overlap"]
    waiting = due_at(virtual, event, 20)
    assert (waiting.node, waiting.attempts, waiting.ready_at) == (None, (), waiting.due)
    virtual.let_go.set()
    until(lambda: due_at(virtual, event, 20).ended_at)
    assert [due for _, due in virtual.ran] == [START.add(seconds=s) for s in (10, 20)]
    assert due_at(virtual, event, 20).lateness == 10.0


def test_a_full_limit_lets_others_stay_due_until_a_place_is_free(
    make_virtual: Make, until: Callable[..., Any]
) -> None:
    virtual = make_virtual(concurrency_limits={"few": 1}).start()
    low = tens(virtual, "hold", "low", concurrency_limit="few")
    virtual.clock.advance(10)
    assert virtual.held.acquire(timeout=10)
    usual = tens(virtual, "tick", "usual", concurrency_limit="few")
    high = tens(virtual, "tick", "high", concurrency_limit="few", priority=9)
    other = tens(virtual, "tick", "other")
    virtual.advance(10)
    virtual.advance(10)
    assert virtual.fates(usual) == virtual.fates(high) == {}
    assert virtual.scheduler.get_event(usual.id).next_due == START.add(seconds=20)
    assert virtual.fates(other) == {20: "succeeded", 30: "succeeded"}, "others are not held up"
    virtual.let_go.set()
    until(lambda: due_at(virtual, usual, 30))
    virtual.settle()
    assert virtual.fates(usual) == virtual.fates(high) == {20: "coalesced", 30: "succeeded"}
    assert virtual.fates(low) == {10: "succeeded", 20: "overlap", 30: "overlap"}
    assert [name for name, _ in virtual.ran if name != "other"] == ["low", "high", "usual"]


def test_with_all_workers_busy_the_higher_priority_begins_first(
    make_virtual: Make, until: Callable[..., Any]
) -> None:
    virtual = make_virtual(workers=1).start()
    tens(virtual, "hold", "busy")
    virtual.clock.advance(10)
    assert virtual.held.acquire(timeout=10)
    for name, priority in (("low", -3), ("usual", 0), ("high", 5)):
        tens(virtual, "tick", name, priority=priority)
    virtual.clock.advance(10)
    until(lambda: virtual.scheduler.count_executions(fate="pending") == 3)
    until(lambda: virtual.system.runner.in_flight == 4)
    virtual.let_go.set()
    until(lambda: len(virtual.ran) == 4)
    assert [name for name, _ in virtual.ran] == ["busy", "high", "usual", "low"]


def test_a_change_of_the_policy_holds_from_the_next_decision_on(virtual: Any) -> None:
    event = tens(virtual, "hold")
    virtual.clock.advance(10)
    assert virtual.held.acquire(timeout=10)
    virtual.advance(10)
    assert virtual.fates(event)[20] == "overlap"
    virtual.scheduler.update_event(event.id, overlap="buffer_one", priority=3)
    entry = virtual.journal("event_updated")[0]
    assert (entry.details["changed"], set(entry.details["before"])) == (["policies"], {"policies"})
    virtual.advance(10)
    assert [virtual.fates(event)[second] for second in (20, 30)] == ["overlap", "pending"]
    assert due_at(virtual, event, 30).priority == 3


# -- what another node has done ----------------------------------------------------------------


def by_another_node(virtual: Any, event: Event, **columns: Any) -> None:
    """Write into the event's open execution, as another node's claim does."""
    query = ExecutionRow.update(**columns).where(
        ExecutionRow.event_id == event.id, ExecutionRow.ended_at.is_null()
    )
    virtual.system.storage.write(query.execute).get(timeout=10)


def test_at_the_next_heartbeat_a_job_hears_that_another_node_has_cancelled_it(
    make_virtual: Make, heeding: Heeding, until: Callable[..., Any]
) -> None:
    virtual = make_virtual(lease=30.0)
    virtual.registry.register(heeding, "heed")
    virtual.start()
    event = tens(virtual, "heed", overlap="cancel_other")
    virtual.clock.advance(10)
    heeding.wait()
    virtual.scheduler.pause_event(event.id)
    by_another_node(virtual, event, cancel=1)
    virtual.clock.advance(10)
    assert until(lambda: due_at(virtual, event, 10).ended_at)
    assert due_at(virtual, event, 10).reason == "overlap"


def test_at_the_next_heartbeat_what_another_node_has_terminated_is_written_off(
    make_virtual: Make, until: Callable[..., Any]
) -> None:
    virtual = make_virtual(lease=30.0, workers=1).start()
    event = tens(virtual, "hold", overlap="terminate_other")
    virtual.clock.advance(10)
    assert virtual.held.acquire(timeout=10)
    virtual.scheduler.pause_event(event.id)
    now = virtual.clock.now_us()
    by_another_node(
        virtual, event, fate="cancelled", reason="overlap", ended_at=now, still_running=1
    )
    virtual.clock.advance(10)
    virtual.settle()  # its thread counts no more
    assert due_at(virtual, event, 10).still_running
    virtual.let_go.set()
    until(lambda: not due_at(virtual, event, 10).still_running)


def test_what_the_ledger_takes_to_be_running_here_and_is_not_is_cleared_by_a_heartbeat(
    make_virtual: Make, until: Callable[..., Any]
) -> None:
    virtual = make_virtual(lease=30.0).start()
    event = tens(virtual, "tick")
    virtual.advance(10)
    query = ExecutionRow.update(still_running=1).where(ExecutionRow.event_id == event.id)
    virtual.system.storage.write(query.execute).get(timeout=10)
    virtual.clock.advance(10)
    until(lambda: not due_at(virtual, event, 10).still_running)
