"""``cancel_execution``, progress and log lines in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pendulum
import pytest

from kalends import Event, Execution, Registry, current, every
from kalends.testing import VirtualScheduler, assert_accounted, sleep

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def steps() -> str:
    """An hour of work, told minute by minute, that heeds."""
    for minute in range(60):
        current().progress(minute / 60, f"minute {minute}")
        if current().cancelled:
            current().log.warning("stopping", minute=minute)
            raise RuntimeError("stopped")
        sleep(60.0)
    return "done"


def boom() -> None:
    raise RuntimeError("boom")


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    made.register(steps, "steps")
    made.register(boom, "boom")
    return made


@pytest.fixture
def scheduler(registry: Registry) -> Iterator[VirtualScheduler]:
    with VirtualScheduler(registry=registry, start=START, workers=1) as made:
        yield made


def begin(scheduler: VirtualScheduler, job: str = "steps", **policies: Any) -> Event:
    """An event whose job has run for ten minutes and a half."""
    event = scheduler.schedule_event(job, every(hours=2), **policies)
    scheduler.advance(7200 + 630)
    return event


def only(scheduler: VirtualScheduler, event: Event) -> Execution:
    (execution,) = scheduler.list_executions(event_id=event.id).items
    return scheduler.get_execution(execution.id)


def test_progress_is_seen_while_the_job_runs(scheduler: VirtualScheduler) -> None:
    event = begin(scheduler)
    execution = only(scheduler, event)
    assert (execution.fate, execution.progress, execution.note) == ("running", 10 / 60, "minute 10")
    scheduler.advance(60)
    assert only(scheduler, event).note == "minute 11"


def test_a_job_that_is_told_ends_as_cancelled_when_it_looks(scheduler: VirtualScheduler) -> None:
    event = begin(scheduler, retries=3)
    asked = scheduler.cancel_execution(only(scheduler, event).id, author="ada", note="no need")
    assert (asked.fate, asked.cancel_requested) == ("running", True)
    scheduler.advance(60)
    over = only(scheduler, event)
    assert (over.fate, over.reason) == ("cancelled", "requested")
    assert over.ended_at == START.add(hours=2, minutes=11)
    (attempt,) = over.attempts
    assert [(line.at, line.message) for line in attempt.log] == [
        (START.add(hours=2, minutes=11), "stopping minute=11")
    ]
    assert "Its cancellation was asked for by ada at 2027-01-01T02:10:30Z: no need." in str(
        scheduler.explain(event.id, over.due)
    )
    assert_accounted(scheduler)


def test_what_waits_for_the_only_slot_never_starts(scheduler: VirtualScheduler) -> None:
    begin(scheduler)
    queued = scheduler.trigger_now(scheduler.schedule_event("boom", every(days=900)).id)
    assert (queued.fate, queued.started_at) == ("pending", None)
    over = scheduler.cancel_execution(queued.id)
    assert (over.fate, over.reason, over.ended_at) == ("cancelled", "requested", scheduler.now)
    scheduler.advance(3600)
    assert scheduler.get_execution(queued.id) == over


def test_a_kill_does_not_bring_back_what_was_cancelled(scheduler: VirtualScheduler) -> None:
    event = begin(scheduler, retries=3)
    running = only(scheduler, event)
    scheduler.cancel_execution(running.id)
    scheduler.kill().start()
    over = scheduler.get_execution(running.id)
    assert (over.fate, over.reason) == ("cancelled", "requested")
    scheduler.advance(600)
    assert scheduler.get_execution(running.id) == over
    assert_accounted(scheduler)


def test_a_peer_cancels_what_another_process_runs(scheduler: VirtualScheduler) -> None:
    event = begin(scheduler)
    asked = scheduler.reader()
    with asked:
        found = asked.cancel_execution(only(scheduler, event).id, author="ada")
        assert (found.ended_at, found.cancel_requested) == (None, True)
        scheduler.advance(1260)  # a third of a lease: the next sign of life
        assert only(scheduler, event).fate == "cancelled"


def test_what_was_told_is_written_down_now_and_then(registry: Registry) -> None:
    with VirtualScheduler(registry=registry, start=START, follow_every=30.0) as scheduler:
        event = begin(scheduler)
        with scheduler.reader() as looks:
            execution = looks.get_execution(only(scheduler, event).id)
            assert execution.note == "minute 10"
        scheduler.kill().start()
        lost = scheduler.get_execution(execution.id).attempts[0]
        assert (lost.outcome, lost.note) == ("lost", "minute 10")


def test_equal_calls_write_equal_ledgers(registry: Registry) -> None:
    def ledger() -> bytes:
        with VirtualScheduler(registry=registry, start=START, seed=7) as scheduler:
            event = begin(scheduler)
            scheduler.cancel_execution(only(scheduler, event).id, note="again")
            scheduler.advance(60)
            return scheduler.dump()

    assert ledger() == ledger()
