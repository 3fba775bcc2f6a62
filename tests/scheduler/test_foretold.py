"""Skipping and moving the next instant, in a scheduler that runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import EventStatus, TransitionError, ValidationFailed, every

pytestmark = pytest.mark.on_both

START = pendulum.datetime(2027, 1, 1, tz="UTC")


@pytest.fixture
def event(virtual: Any) -> Any:
    return virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="t")


def at(*seconds: float) -> tuple[pendulum.DateTime, ...]:
    return tuple(START.add(seconds=second) for second in seconds)


@pytest.mark.parametrize("first", [0, 9.9])
def test_the_next_instants_are_skipped_though_one_was_armed(
    virtual: Any, event: Any, first: float
) -> None:
    virtual.advance(first)
    skipped = virtual.scheduler.skip_next(event.id, 2, note="holiday", author="ola")
    assert skipped.instants == at(10, 20)
    assert (skipped.event.next_due, skipped.event.status) == (at(30)[0], EventStatus.ACTIVE)
    virtual.advance(15)
    virtual.advance(15 - first)
    assert virtual.ran == [("t", at(30)[0])]
    assert virtual.fates(event) == {10: "excluded_once", 20: "excluded_once", 30: "succeeded"}
    (entry,) = virtual.journal("event_skipped")
    assert (entry.author, entry.note) == ("ola", "holiday")


@pytest.mark.parametrize("to", [3, 14.5])
def test_the_next_instant_runs_at_another_one(
    virtual: Any, event: Any, to: float, until: Callable[..., Any]
) -> None:
    moved = virtual.scheduler.move_next(event.id, START.add(seconds=to), author="ola")
    assert (moved.due, moved.moved_to, moved.fate) == (at(10)[0], at(to)[0], "pending")
    virtual.advance(to - 0.001)
    assert virtual.ran == []
    virtual.clock.advance(0.001)
    until(lambda: virtual.ran)
    done = virtual.ended(moved.id)
    assert (done.started_at, done.due, done.lateness) == (at(to)[0], at(10)[0], 0.0)
    virtual.advance(20 - to)
    assert virtual.ran == [("t", at(10)[0]), ("t", at(20)[0])]
    assert virtual.fates(event) == {10: "succeeded", 20: "succeeded"}


def test_the_loop_is_told_of_what_was_moved_before_anything_else_is_due(
    virtual: Any, until: Callable[..., Any]
) -> None:
    event = virtual.scheduler.schedule_event("tick", every(hours=1, anchor=START), name="t")
    virtual.settle()
    virtual.scheduler.move_next(event.id, START.add(seconds=3))
    virtual.clock.advance(3)
    until(lambda: virtual.ran)


def test_what_was_moved_survives_a_restart(
    virtual: Any, event: Any, until: Callable[..., Any]
) -> None:
    virtual.scheduler.move_next(event.id, START.add(seconds=3))
    virtual.advance(2.9)
    assert virtual.scheduler.get_event(event.id).next_due == at(20)[0]
    virtual.scheduler.shutdown()
    virtual.clock.advance(0.1)
    virtual.start()
    until(lambda: virtual.ran)
    virtual.settle()
    assert virtual.fates(event) == {10: "succeeded"}


def test_two_schedulers_on_one_database_run_what_was_moved_once(
    make_virtual: Callable[..., Any], until: Callable[..., Any]
) -> None:
    one, two = make_virtual().start(), make_virtual().start()
    event = one.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="t")
    moved = two.scheduler.move_next(event.id, START.add(seconds=3))
    two.clock.advance(3)
    until(lambda: one.ran or two.ran)
    one.ended(moved.id)
    one.settle()
    assert len(one.ran + two.ran) == 1
    assert one.fates(event) == {10: "succeeded"}


def test_a_new_rule_is_not_held_back_by_what_was_skipped(virtual: Any, event: Any) -> None:
    virtual.scheduler.skip_next(event.id, 100)
    virtual.scheduler.update_event(event.id, trigger=every(seconds=7, anchor=START))
    virtual.advance(7)
    assert virtual.ran == [("t", at(7)[0])]
    (entry,) = virtual.journal("event_updated")
    assert entry.details["undone"] == {"skipped": 100, "moved": 0}


def test_what_makes_no_sense_is_refused(virtual: Any, event: Any) -> None:
    scheduler = virtual.scheduler
    virtual.advance(5)
    with pytest.raises(ValidationFailed) as caught:
        scheduler.move_next(event.id, START)
    assert caught.value.details["path"] == "to"
    for count in (0, 101):
        with pytest.raises(ValidationFailed):
            scheduler.skip_next(event.id, count)
    scheduler.pause_event(event.id)
    with pytest.raises(TransitionError) as refused:
        scheduler.skip_next(event.id)
    assert refused.value.details == {"verb": "skip_next", "status": "paused"}
    assert virtual.scheduler.list_gaps().items == ()
