"""Time-outs in a whole scheduler, in virtual time and on real threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pendulum
import pytest

from kalends import Execution, every, once

pytestmark = pytest.mark.on_both

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def hold(virtual: Any, **policies: Any) -> Any:
    """An event whose job has begun at 10 s and does not end."""
    event = virtual.scheduler.schedule_event("hold", once(START.add(seconds=10)), **policies)
    virtual.clock.advance(10)
    assert virtual.held.acquire(timeout=10)
    return event


def only(virtual: Any, event: Any) -> Execution:
    (execution,) = virtual.executions(event)
    found: Execution = execution
    return found


def test_the_ledger_says_that_a_job_has_timed_out_and_still_runs_until_it_does_not(
    virtual: Any, until: Callable[..., Any]
) -> None:
    event = hold(virtual, timeout=30)
    virtual.advance(29)
    assert only(virtual, event).ended_at is None
    virtual.advance(1)
    timed_out = until(lambda: (found := only(virtual, event)).ended_at and found)
    assert (timed_out.fate, timed_out.reason) == ("timed_out", None)
    assert (timed_out.ended_at, timed_out.duration) == (START.add(seconds=40), 30.0)
    assert timed_out.still_running
    assert timed_out.error is not None
    assert timed_out.error.type == "TimeoutError"
    virtual.advance(60)
    virtual.let_go.set()
    over = until(lambda: not (found := only(virtual, event)).still_running and found)
    assert (over.fate, over.ended_at) == ("timed_out", START.add(seconds=40))
    assert timed_out.attempts[0].still_running
    assert over.attempts == (msgspec.structs.replace(timed_out.attempts[0], still_running=False),)


def test_the_slot_and_the_line_of_a_job_that_hangs_are_free(
    make_virtual: Callable[..., Any], until: Callable[..., Any]
) -> None:
    virtual = make_virtual(workers=1).start()
    event = virtual.scheduler.schedule_event("hold", every(seconds=60, anchor=START), timeout=30)
    virtual.clock.advance(60)
    assert virtual.held.acquire(timeout=10)
    virtual.clock.advance(30)
    virtual.settle()
    virtual.clock.advance(30)
    assert virtual.held.acquire(timeout=10), "its next instant runs, on another thread"
    until(lambda: virtual.fates(event)[60] == "timed_out")


def test_a_time_out_is_tried_again_and_the_job_that_hangs_changes_nothing_any_more(
    virtual: Any, until: Callable[..., Any]
) -> None:
    event = hold(virtual, timeout=30, retries=1, retry_delay=60, retry_jitter=0)
    virtual.advance(30)
    waiting = until(lambda: (found := only(virtual, event)).ready_at and found)
    assert (waiting.fate, waiting.ready_at) == ("pending", START.add(seconds=100))
    assert [attempt.outcome.value for attempt in waiting.attempts] == ["timed_out"]
    virtual.clock.advance(60)
    assert virtual.held.acquire(timeout=10)
    virtual.let_go.set()  # both end now, the first one long after its end was written
    done = until(lambda: (found := only(virtual, event)).ended_at and found)
    virtual.settle()
    assert [attempt.outcome.value for attempt in done.attempts] == ["timed_out", "succeeded"]
    assert only(virtual, event) == done
    assert (done.fate, done.still_running) == ("succeeded", False)


def test_hanging_twice_in_a_row_pauses_the_event(virtual: Any, until: Callable[..., Any]) -> None:
    event = virtual.scheduler.schedule_event(
        "hold", every(seconds=60, anchor=START), timeout=30, pause_after_failures=2
    )
    for second in (60, 120):
        virtual.clock.advance(30)
        virtual.settle()
        virtual.clock.advance(30)
        assert virtual.held.acquire(timeout=10), f"it begins at {second}"
    virtual.clock.advance(30)
    until(lambda: virtual.scheduler.get_event(event.id).status == "paused")
    assert list(virtual.fates(event).values()) == ["timed_out", "timed_out"]


def test_a_new_time_out_holds_for_the_next_attempt(virtual: Any, until: Callable[..., Any]) -> None:
    event = hold(virtual, timeout=30, retries=1, retry_delay=60, retry_jitter=0)
    virtual.scheduler.update_event(event.id, timeout=5)
    virtual.advance(29)
    assert only(virtual, event).ready_at is None
    virtual.advance(1)
    until(lambda: only(virtual, event).ready_at)
    virtual.clock.advance(60)
    assert virtual.held.acquire(timeout=10)
    virtual.advance(5)
    over = until(lambda: (found := only(virtual, event)).ended_at and found)
    assert [attempt.outcome.value for attempt in over.attempts] == ["timed_out", "timed_out"]
    assert (over.fate, over.reason, over.duration) == ("timed_out", "exhausted", 5.0)


def test_nothing_still_runs_of_a_process_that_has_stopped(
    make_virtual: Callable[..., Any], until: Callable[..., Any]
) -> None:
    virtual = make_virtual().start()
    event = hold(virtual, timeout=30)
    virtual.advance(30)
    until(lambda: only(virtual, event).still_running)
    virtual.scheduler.shutdown(0.0)
    after = make_virtual().start()
    assert only(after, event).fate == "timed_out"
    assert not only(after, event).still_running
