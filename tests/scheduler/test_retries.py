"""Further attempts in a whole scheduler, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import Cancel, Execution, Retry, Snooze, current, every, once

pytestmark = pytest.mark.on_both

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def fail_until(virtual: Any, attempt: int, error: Callable[[], Exception] = OSError) -> None:
    """Register the job ``flaky``, which raises before that attempt."""

    def flaky() -> int:
        if current().attempt < attempt:
            raise error()
        return current().attempt

    virtual.registry.register(flaky, "flaky")


def only(virtual: Any, event: Any) -> Execution:
    (execution,) = virtual.executions(event)
    found: Execution = execution
    return found


def test_a_job_that_fails_twice_is_run_again_at_its_instants_and_succeeds(virtual: Any) -> None:
    fail_until(virtual, 3)
    event = virtual.scheduler.schedule_event(
        "flaky", once(START.add(seconds=10)), retries=3, retry_delay=60, retry_jitter=0
    )
    virtual.advance(10)
    waiting = only(virtual, event)
    assert (waiting.fate, waiting.ready_at) == ("pending", START.add(seconds=70))
    virtual.advance(59)
    assert len(only(virtual, event).attempts) == 1
    virtual.advance(1)
    assert only(virtual, event).ready_at == START.add(seconds=190)
    virtual.advance(120)
    done = only(virtual, event)
    assert (done.fate, done.result, done.lateness) == ("succeeded", 3, 0.0)
    starts = [attempt.started_at for attempt in done.attempts]
    assert starts == [START.add(seconds=second) for second in (10, 70, 190)]
    assert virtual.fates(event) == {10: "succeeded"}


def test_while_a_retry_waits_the_event_counts_as_running(virtual: Any) -> None:
    fail_until(virtual, 2)
    event = virtual.scheduler.schedule_event(
        "flaky", every(seconds=10, anchor=START), retries=1, retry_delay=25, retry_jitter=0
    )
    for _ in range(10):
        virtual.advance(5)
    assert virtual.fates(event) == {
        10: "succeeded", 20: "overlap", 30: "overlap", 40: "pending", 50: "overlap",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "outcome", "delay"),
    [(lambda: Retry(7), "failed", 7), (lambda: Snooze(40), "cancelled", 40)],
)
def test_a_job_says_itself_when_it_wants_to_run_again(
    virtual: Any, error: Callable[[], Exception], outcome: str, delay: int
) -> None:
    fail_until(virtual, 2, error)
    event = virtual.scheduler.schedule_event("flaky", once(START.add(seconds=10)))
    virtual.advance(10)
    assert only(virtual, event).ready_at == START.add(seconds=10 + delay)
    virtual.advance(delay)
    done = only(virtual, event)
    assert [attempt.outcome.value for attempt in done.attempts] == [outcome, "succeeded"]


def test_a_job_that_cancels_itself_is_over(virtual: Any) -> None:
    fail_until(virtual, 9, lambda: Cancel("a holiday"))
    event = virtual.scheduler.schedule_event("flaky", once(START.add(seconds=10)), retries=5)
    virtual.advance(10)
    over = only(virtual, event)
    assert over.error is not None
    assert (over.fate, over.error.type, over.error.message) == ("cancelled", "Cancel", "a holiday")


def test_a_retry_survives_a_restart_of_the_process(make_virtual: Callable[..., Any]) -> None:
    first = make_virtual().start()
    fail_until(first, 2)
    event = first.scheduler.schedule_event(
        "flaky", once(START.add(seconds=10)), retries=1, retry_delay=60, retry_jitter=0
    )
    first.advance(10)
    first.scheduler.shutdown(10.0)
    second = make_virtual()
    fail_until(second, 2)
    second.start()
    second.advance(59)
    assert only(second, event).fate == "pending"
    second.advance(1)
    assert only(second, event).fate == "succeeded"


def test_a_retry_that_came_due_during_a_pause_runs_as_soon_as_the_event_is_resumed(
    virtual: Any,
) -> None:
    fail_until(virtual, 2)
    event = virtual.scheduler.schedule_event(
        "flaky", every(days=1, anchor=START), retries=1, retry_delay=60
    )
    virtual.advance(86_400)
    virtual.scheduler.pause_event(event.id)
    virtual.advance(3600)
    assert only(virtual, event).fate == "pending"
    virtual.scheduler.resume_event(event.id)
    virtual.settle()
    assert only(virtual, event).fate == "succeeded"


def test_an_event_that_fails_in_a_row_is_paused_and_nothing_of_it_begins_any_more(
    virtual: Any,
) -> None:
    event = virtual.scheduler.schedule_event(
        "boom", every(seconds=10, anchor=START), pause_after_failures=3
    )
    for _ in range(6):
        virtual.advance(10)
    assert virtual.fates(event) == {10: "failed", 20: "failed", 30: "failed"}
    paused = virtual.scheduler.get_event(event.id)
    assert (paused.status, paused.note) == ("paused", "paused after 3 failures in a row")
    (entry,) = virtual.journal("event_paused")
    assert (entry.author, entry.details["failures"]) == ("kalends", 3)
    virtual.scheduler.resume_event(event.id)
    for _ in range(4):
        virtual.advance(10)
    assert [virtual.fates(event)[at] for at in (40, 50, 60, 70, 80, 90)] == [
        "paused", "paused", "paused", "failed", "failed", "failed",
    ]  # fmt: skip
    assert virtual.scheduler.get_event(event.id).status == "paused"


def test_what_was_claimed_ahead_of_the_pause_is_given_back(
    make_virtual: Callable[..., Any], until: Callable[..., Any]
) -> None:
    virtual = make_virtual(claim_ahead=30.0).start()
    event = virtual.scheduler.schedule_event(
        "boom", every(seconds=10, anchor=START), pause_after_failures=1, overlap="allow_all",
        retries=1, retry_delay=25, retry_jitter=0,
    )  # fmt: skip
    for second in (10, 20, 25):
        virtual.advance(second - (virtual.clock.monotonic()))
    last = virtual.executions(event)[1]
    until(lambda: virtual.scheduler.get_execution(last.id).node, 5.0)  # claimed ahead, for 45
    virtual.advance(10)
    until(lambda: virtual.scheduler.get_event(event.id).status == "paused")
    until(lambda: virtual.scheduler.get_execution(last.id).node is None)
    virtual.advance(100)
    assert [item.outcome.value for item in virtual.executions(event)[1].attempts] == ["failed"]
    assert virtual.executions(event)[1].ready_at == START.add(seconds=45)
