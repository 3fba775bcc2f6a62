"""What subscriptions and metrics hear of decisions that no job has a part in: instants that are
skipped, and executions that end because somebody asked for it or because a newer one came.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kalends import Fate, Notice, Reason, Registry, Scheduler, every
from kalends.testing import VirtualScheduler

KINDS = ["instants_skipped", "execution_ended"]


def all_of(subscription: Any) -> list[Notice]:
    """What is queued by now."""
    found = []
    while len(subscription):
        found.append(subscription.get(1))
    return found


def spans(notices: list[Notice]) -> list[tuple[Any, ...]]:
    """Event, reason and count of what was skipped."""
    return [
        (notice.event_name, notice.reason, notice.details["count"])
        for notice in notices
        if notice.kind == "instants_skipped"
    ]


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    made.register(lambda: None, "work")
    return made


@pytest.fixture
def virtual(registry: Registry) -> Iterator[VirtualScheduler]:
    with VirtualScheduler(registry=registry) as made:
        yield made


def test_what_was_due_in_a_pause_is_told_when_it_is_resumed(virtual: VirtualScheduler) -> None:
    event = virtual.schedule_event("work", every(seconds=10), name="paused")
    virtual.pause_event(event.id)
    virtual.advance(35)
    heard = virtual.subscribe(kinds=KINDS)
    virtual.resume_event(event.id)
    (notice,) = all_of(heard)
    assert spans([notice]) == [("paused", Reason.PAUSED, 3)]
    (gap,) = virtual.list_gaps(event_id=event.id).items
    assert (gap.count, gap.last) == (3, notice.due)


def test_a_pause_that_ends_by_itself_tells_of_it_too(virtual: VirtualScheduler) -> None:
    event = virtual.schedule_event("work", every(seconds=10), name="paused")
    heard = virtual.subscribe(kinds=KINDS)
    virtual.pause_event(event.id, until=virtual.now.add(seconds=35))
    virtual.advance(36)
    assert spans(all_of(heard)) == [("paused", Reason.PAUSED, 3)]


def test_instants_that_somebody_leaves_out_are_told(virtual: VirtualScheduler) -> None:
    event = virtual.schedule_event("work", every(seconds=10), name="fewer")
    heard = virtual.subscribe(kinds=KINDS)
    virtual.skip_next(event.id, 2)
    assert spans(all_of(heard)) == [("fewer", Reason.EXCLUDED_ONCE, 2)]


def test_a_change_that_is_refused_has_skipped_nothing(virtual: VirtualScheduler) -> None:
    event = virtual.schedule_event("work", every(seconds=10), name="kept")
    heard = virtual.subscribe(kinds=KINDS)
    with pytest.raises(Exception, match="resume"):
        virtual.resume_event(event.id)
    assert all_of(heard) == []


# -- executions --------------------------------------------------------------------------------


class Held:
    """A job that runs until it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)

    def __call__(self) -> None:
        self.begun.release()
        self.gate.wait(30)


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.gate.set()


@pytest.fixture
def scheduler(held: Held, registry: Registry) -> Iterator[Scheduler]:
    registry.register(held, "held")
    with Scheduler(":memory:", registry=registry, environ={}) as made:
        yield made
        held.gate.set()


def ended_of(scheduler: Scheduler, act: Callable[[], Any]) -> tuple[Any, Notice]:
    """What ``act`` answers, and the next end that is told."""
    with scheduler.subscribe(kinds="execution_ended") as heard:
        answer = act()
        notice = heard.get(30)
    assert notice is not None
    return answer, notice


def test_a_manual_run_that_is_skipped_is_told(scheduler: Scheduler, held: Held) -> None:
    event = scheduler.schedule_event("held", every(hours=1), name="busy")
    scheduler.trigger_now(event.id)
    assert held.begun.acquire(timeout=30)
    skipped, notice = ended_of(scheduler, lambda: scheduler.trigger_now(event.id))
    assert (notice.execution_id, notice.due) == (skipped.id, skipped.due)
    assert (notice.event_name, notice.job) == ("busy", "held")
    assert (notice.fate, notice.reason) == (Fate.SKIPPED, Reason.OVERLAP)


def test_one_that_is_terminated_is_told_with_all_that_applies(
    scheduler: Scheduler, held: Held
) -> None:
    event = scheduler.schedule_event("held", every(hours=1), name="busy")
    first = scheduler.trigger_now(event.id)
    assert held.begun.acquire(timeout=30)
    _, notice = ended_of(
        scheduler, lambda: scheduler.trigger_now(event.id, overlap="terminate_other")
    )
    assert (notice.execution_id, notice.due) == (first.id, first.due)
    assert (notice.event_name, notice.job) == ("busy", "held")
    assert (notice.fate, notice.reason) == (Fate.CANCELLED, Reason.OVERLAP)
    assert notice.lateness is not None
    assert notice.duration is not None
    assert 0.0 <= notice.lateness < 30.0
    assert 0.0 <= notice.duration < 30.0


def test_one_that_waited_and_is_cancelled_is_told_with_its_event_and_job(
    scheduler: Scheduler, held: Held
) -> None:
    event = scheduler.schedule_event("held", every(hours=1), name="busy")
    scheduler.trigger_now(event.id)
    assert held.begun.acquire(timeout=30)
    waits = scheduler.trigger_now(event.id, overlap="buffer_one")
    _, notice = ended_of(scheduler, lambda: scheduler.cancel_execution(waits.id))
    assert (notice.execution_id, notice.due) == (waits.id, waits.due)
    assert (notice.event_name, notice.job) == ("busy", "held")
    assert (notice.fate, notice.reason) == (Fate.CANCELLED, Reason.REQUESTED)
    assert (notice.lateness, notice.duration) == (None, None)


def test_metrics_count_them_under_their_job(scheduler: Scheduler, held: Held) -> None:
    client = pytest.importorskip("prometheus_client")
    metrics = pytest.importorskip("kalends.metrics")
    registry = client.CollectorRegistry()
    watched = metrics.SchedulerMetrics(registry)
    watched.watch(scheduler)
    event = scheduler.schedule_event("held", every(hours=1), name="busy")
    scheduler.trigger_now(event.id)
    assert held.begun.acquire(timeout=30)
    scheduler.trigger_now(event.id)
    labels = {"scheduler": "default", "job": "held", "fate": "skipped", "reason": "overlap"}
    assert registry.get_sample_value("kalends_executions_total", labels) == 1.0
    watched.forget("default")


def test_what_a_start_skips_because_the_code_says_otherwise_is_told() -> None:
    def declaring(seconds: float) -> Registry:
        made = Registry()
        job = made.register(lambda: None, "declared")
        made.scheduled(every(seconds=seconds), name="declared")(job)
        return made

    first = VirtualScheduler(registry=declaring(10)).start()
    first.advance(5)
    first.kill()
    first.clock.advance(30)
    second = first.peer(registry=declaring(3600))
    heard = second.subscribe(kinds=KINDS)
    with second:
        (event,) = second.list_events(name="declared").items
        (gap,) = second.list_gaps(event_id=event.id).items
        assert (gap.count, gap.reason) == (3, Reason.SUPERSEDED)
        assert spans(all_of(heard)) == [("declared", Reason.SUPERSEDED, 3)]
