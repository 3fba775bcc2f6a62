"""Pauses that end by themselves, in a scheduler that runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import EventStatus, Registry, ValidationFailed, every
from kalends.testing import VirtualScheduler

pytestmark = pytest.mark.on_both

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def test_the_loop_wakes_for_the_end_of_a_pause(virtual: Any, until: Callable[..., Any]) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="t")
    paused = virtual.scheduler.pause_event(event.id, until=START.add(seconds=25), note="swap")
    assert (paused.status, paused.paused_until) == (EventStatus.PAUSED, START.add(seconds=25))
    virtual.advance(24)
    assert virtual.scheduler.get_event(event.id).status is EventStatus.PAUSED
    virtual.clock.advance(1)
    until(lambda: virtual.scheduler.get_event(event.id).status is EventStatus.ACTIVE)
    virtual.advance(5)
    assert virtual.fates(event) == {10: "paused", 20: "paused", 30: "succeeded"}
    (entry,) = virtual.journal("event_resumed")
    assert (entry.author, entry.note, entry.at) == (
        "kalends", "the pause ended", START.add(seconds=25),
    )  # fmt: skip


def test_the_loop_is_told_of_a_pause_that_ends_before_anything_is_due(
    virtual: Any, until: Callable[..., Any]
) -> None:
    event = virtual.scheduler.schedule_event("tick", every(hours=1, anchor=START))
    virtual.settle()
    virtual.scheduler.pause_event(event.id, until=START.add(seconds=3))
    virtual.clock.advance(3)
    until(lambda: virtual.scheduler.get_event(event.id).status is EventStatus.ACTIVE)


def test_an_instant_at_the_very_end_of_a_pause_runs(
    virtual: Any, until: Callable[..., Any]
) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="t")
    virtual.scheduler.pause_event(event.id, until=START.add(seconds=20))
    virtual.clock.advance(19.9)
    virtual.clock.advance(0.1)
    until(lambda: virtual.ran)
    virtual.settle()
    assert virtual.ran == [("t", START.add(seconds=20))]
    assert virtual.fates(event) == {10: "paused", 20: "succeeded"}


def test_a_pause_that_ends_while_the_process_is_down_is_over_at_the_next_start(
    virtual: Any, until: Callable[..., Any]
) -> None:
    event = virtual.scheduler.schedule_event(
        "tick", every(seconds=10, anchor=START), name="t", catch_up="all"
    )
    virtual.scheduler.pause_event(event.id, until=START.add(seconds=25))
    virtual.scheduler.shutdown()
    virtual.clock.advance(45)
    virtual.start()
    until(lambda: len(virtual.ran) == 2)
    virtual.settle()
    assert virtual.fates(event) == {
        10: "paused", 20: "paused", 30: "succeeded", 40: "succeeded",
    }  # fmt: skip


def test_the_end_of_a_pause_lies_ahead(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START))
    with pytest.raises(ValidationFailed) as caught:
        virtual.scheduler.pause_event(event.id, until=START)
    assert caught.value.details["path"] == "until"
    assert virtual.scheduler.get_event(event.id).status is EventStatus.ACTIVE


def test_a_pause_for_what_a_dead_process_lost_takes_back_what_is_armed_here() -> None:
    jobs = Registry()
    jobs.register(lambda: None, "work")
    long = {"busy": 1000.0}
    with VirtualScheduler(
        registry=jobs, start=START, durations=long, claim_limit=1, claim_batch=1
    ) as dying:
        event = dying.schedule_event(
            "work", every(seconds=10, anchor=START), name="busy", overlap="allow_all",
            delivery="at_most_once", pause_after_failures=1,
        )  # fmt: skip
        dying.advance(10)  # it runs there, and nothing more fits in
        with dying.peer(durations=long, claim_ahead=30.0) as here:
            moved = here.move_next(event.id, START.add(seconds=35))
            here.wait_until(lambda: here.get_execution(moved.id).node == here.status().node, 1.0)
            dying.kill()
            report = here.keep_house()
            assert report.rescued.paused == (event.id,)
            assert here.get_execution(moved.id).node is None
            assert here.status().in_flight == 0
            here.advance(60)
            assert [item.fate for item in here.list_executions().items] == ["pending", "lost"]
