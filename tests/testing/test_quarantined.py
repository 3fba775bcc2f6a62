"""Events whose job nobody registers any more: what waits, what is skipped, and what goes free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import EventStatus, Execution, Fate, Registry, every, once
from kalends.jobs.registry import Job
from kalends.testing import VirtualScheduler, assert_skipped

START = pendulum.datetime(2027, 1, 1, tz="UTC")
Make = Callable[..., VirtualScheduler]


class Gone(set[str]):
    """Jobs that are gone."""


@pytest.fixture
def gone(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Gone:
    jobs, find = Gone(), registry.find

    def look(name: str) -> Job | None:
        return None if name in jobs else find(name)

    monkeypatch.setattr(registry, "find", look)
    return jobs


def all_of(scheduler: VirtualScheduler, event_id: str, **query: Any) -> list[Execution]:
    return list(scheduler.list_executions(event_id=event_id, descending=False, **query).items)


def test_a_retry_of_a_job_that_is_gone_waits_for_the_return_of_its_event(
    make: Make, gone: Gone
) -> None:
    scheduler = make(failures=lambda due, attempt, rng: attempt == 1)
    event = scheduler.schedule_event("tick", once(START.add(seconds=1)), retries=1)
    scheduler.advance(2)
    gone.add("tick")
    scheduler.advance(60)
    assert scheduler.get_event(event.id).status is EventStatus.QUARANTINED
    (waiting,) = all_of(scheduler, event.id)
    assert (waiting.fate, waiting.node) == (Fate.PENDING, None)
    assert [attempt.outcome for attempt in waiting.attempts] == [Fate.FAILED]
    gone.clear()
    scheduler.release_event(event.id)
    (ended,) = all_of(scheduler, event.id)
    assert (ended.id, ended.fate) == (waiting.id, Fate.SUCCEEDED)
    assert scheduler.verify().ok


def test_no_execution_of_a_backfill_is_lost_to_a_job_that_is_gone(make: Make, gone: Gone) -> None:
    scheduler = make()
    event = scheduler.schedule_event("tick", every(minutes=1, anchor=START.subtract(hours=1)))
    gone.add("tick")
    asked = scheduler.backfill(event.id, START.subtract(minutes=3), START)
    assert scheduler.get_event(event.id).status is EventStatus.QUARANTINED
    assert scheduler.get_backfill(asked.id).fates == {Fate.PENDING: 3}
    gone.clear()
    scheduler.release_event(event.id)
    assert scheduler.get_backfill(asked.id).fates == {Fate.SUCCEEDED: 3}


def test_the_place_in_a_limit_of_what_cannot_run_is_free_at_once(
    make: Make, gone: Gone, registry: Registry
) -> None:
    registry.register(lambda: None, "other")
    scheduler = make(concurrency_limits={"one": 1})
    rule = once(START.add(seconds=1))
    scheduler.schedule_event("tick", rule, concurrency_limit="one", priority=1)
    other = scheduler.schedule_event("other", rule, concurrency_limit="one")
    gone.add("tick")
    scheduler.advance(1)
    assert [ended.fate for ended in all_of(scheduler, other.id)] == [Fate.SUCCEEDED]


def test_what_a_quarantined_event_has_claimed_and_not_begun_never_begins(
    make: Make, gone: Gone
) -> None:
    scheduler = make()
    event = scheduler.schedule_event(
        "tick", every(minutes=1, anchor=START).jitter(60), overlap="allow_all"
    )
    scheduler.advance(60.0001)
    (claimed,) = all_of(scheduler, event.id)
    assert claimed.started_at is None, "its jitter is not over"
    gone.add("tick")
    scheduler.trigger_now(event.id)
    gone.clear()
    scheduler.advance(600)
    assert scheduler.get_event(event.id).status is EventStatus.QUARANTINED
    assert {ended.fate for ended in all_of(scheduler, event.id)} == {Fate.SKIPPED}
    scheduler.release_event(event.id)
    assert_skipped(scheduler, event, reason="quarantined", due=START.add(minutes=1))
    assert scheduler.verify().ok


def test_a_move_that_could_not_be_carried_out_goes_with_its_rule(make: Make, gone: Gone) -> None:
    scheduler = make()
    event = scheduler.schedule_event("tick", once(START.add(hours=1)))
    gone.add("tick")
    scheduler.move_next(event.id, START.add(seconds=1))
    scheduler.advance(2)
    (skipped,) = all_of(scheduler, event.id)
    assert (skipped.fate, str(skipped.reason)) == (Fate.SKIPPED, "quarantined")
    scheduler.update_event(event.id, trigger=every(minutes=10, anchor=START))
    assert all_of(scheduler, event.id) == [], "its instant is no longer due"
    assert scheduler.verify().ok
