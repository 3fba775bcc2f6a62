"""``cancel_execution`` in a whole scheduler: what waits never begins, what runs is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pendulum
import pytest

from kalends import (
    Event,
    Execution,
    ExecutionEnded,
    ExecutionNotFound,
    Registry,
    Scheduler,
    TransitionError,
    ValidationFailed,
    current,
    once,
)
from kalends.storage.engine import Storage

PAST = pendulum.datetime(2020, 1, 1, tz="UTC")
LATER = pendulum.datetime(2999, 1, 1, tz="UTC")


class Jobs:
    """A job that heeds, one that does not, and one that fails; what ran is written down."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.registry.register(self.heed, "heed")
        self.registry.register(self.ignore, "ignore")
        self.registry.register(self.boom, "boom")
        self.ran: list[str] = []
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Event()

    def heed(self) -> None:
        self.ran.append(current().execution_id)
        self.begun.release()
        pause = threading.Event()
        while not current().cancelled:
            assert not self.let_go.is_set()
            pause.wait(0.002)
        raise RuntimeError("stopped half-way")

    def ignore(self) -> None:
        self.ran.append(current().execution_id)
        self.begun.release()
        assert self.let_go.wait(30)

    def boom(self) -> None:
        self.ran.append(current().execution_id)
        raise RuntimeError("boom")


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def make(tmp_path: Path, jobs: Jobs) -> Iterator[Callable[..., Scheduler]]:
    made: list[Scheduler] = []

    def start(**settings: Any) -> Scheduler:
        scheduler = Scheduler(
            tmp_path / "kalends.db", registry=jobs.registry, environ={}, **settings
        )
        made.append(scheduler)
        return scheduler.start()

    yield start
    jobs.let_go.set()
    for scheduler in made:
        scheduler.shutdown(10.0)


def add(scheduler: Scheduler, job: str, **policies: Any) -> Event:
    return scheduler.schedule_event(job, once(LATER), **policies)


def run(scheduler: Scheduler, jobs: Jobs, job: str, **policies: Any) -> Execution:
    """An execution whose job has begun."""
    execution = scheduler.trigger_now(add(scheduler, job, **policies).id)
    assert jobs.begun.acquire(timeout=10)
    return execution


def ended(scheduler: Scheduler, execution_id: str, until: Callable[..., Any]) -> Execution:
    def look() -> Execution | None:
        found = scheduler.get_execution(execution_id)
        return found if found.ended_at is not None and not found.still_running else None

    execution: Execution = until(look)
    return execution


def cancellations(scheduler: Scheduler, event_id: str) -> list[tuple[str | None, str | None]]:
    page = scheduler.list_journal(event_id=event_id, kind="execution_cancelled")
    return [(entry.author, entry.note) for entry in page.items]


def test_what_waits_for_a_slot_never_starts(
    make: Callable[..., Scheduler], jobs: Jobs, until: Callable[..., Any]
) -> None:
    scheduler = make(workers=1)
    running = run(scheduler, jobs, "ignore")
    queued = scheduler.trigger_now(add(scheduler, "boom", retries=3).id)
    found = scheduler.cancel_execution(queued.id, author="ada", note="no need")
    assert (found.fate, found.reason, found.started_at) == ("cancelled", "requested", None)
    assert found == scheduler.get_execution(queued.id)
    jobs.let_go.set()
    assert ended(scheduler, running.id, until).fate == "succeeded"
    assert jobs.ran == [running.id]
    assert cancellations(scheduler, queued.event_id) == [("ada", "no need")]
    assert scheduler.verify().ok


def test_what_stands_behind_a_claim_that_was_cancelled_goes_on(
    make: Callable[..., Scheduler], jobs: Jobs, until: Callable[..., Any]
) -> None:
    scheduler = make(workers=1)
    run(scheduler, jobs, "ignore")
    event = add(scheduler, "boom", overlap="buffer_all")
    first, second = (scheduler.trigger_now(event.id) for _ in range(2))
    assert scheduler.cancel_execution(first.id).fate == "cancelled"
    jobs.let_go.set()
    assert ended(scheduler, second.id, until).fate == "failed"
    assert first.id not in jobs.ran


def test_a_job_that_runs_is_told_and_ends_as_cancelled(
    make: Callable[..., Scheduler], jobs: Jobs, until: Callable[..., Any]
) -> None:
    scheduler = make()
    running = run(scheduler, jobs, "heed", retries=3)
    found = scheduler.cancel_execution(running.id, author="ada", note="wrong file")
    assert found.cancel_requested
    over = ended(scheduler, running.id, until)
    assert (over.fate, over.reason, len(over.attempts)) == ("cancelled", "requested", 1)
    assert over.error is not None
    assert over.error.message == "stopped half-way"
    told = str(scheduler.explain(over.event_id, over.due))
    (entry,) = scheduler.list_journal(event_id=over.event_id, kind="execution_cancelled").items
    when = entry.at.isoformat().replace("+00:00", "Z")
    assert f"Its cancellation was asked for by ada at {when}: wrong file." in told


def test_a_job_that_does_not_heed_it_ends_as_it_does(
    make: Callable[..., Scheduler], jobs: Jobs, until: Callable[..., Any]
) -> None:
    scheduler = make()
    running = run(scheduler, jobs, "ignore")
    found = scheduler.cancel_execution(running.id)
    assert (found.ended_at, found.cancel_requested) == (None, True)
    jobs.let_go.set()
    over = ended(scheduler, running.id, until)
    assert (over.fate, over.cancel_requested) == ("succeeded", True)


def test_what_waits_for_another_attempt_gets_none(
    make: Callable[..., Scheduler], jobs: Jobs, until: Callable[..., Any]
) -> None:
    scheduler = make()
    execution = scheduler.trigger_now(add(scheduler, "boom", retries=3, retry_delay=3600.0).id)
    until(lambda: scheduler.get_execution(execution.id).ready_at)
    found = scheduler.cancel_execution(execution.id, note="enough")
    assert (found.fate, found.reason, found.ready_at) == ("cancelled", "requested", None)
    assert [attempt.outcome for attempt in found.attempts] == ["failed"]
    assert jobs.ran == [execution.id]
    assert scheduler.verify().ok


def test_cancelling_twice_is_cancelling_once(
    make: Callable[..., Scheduler], jobs: Jobs, until: Callable[..., Any]
) -> None:
    scheduler = make()
    running = run(scheduler, jobs, "heed")
    scheduler.cancel_execution(running.id, author="ada")
    scheduler.cancel_execution(running.id, author="bob")
    over = ended(scheduler, running.id, until)
    assert scheduler.cancel_execution(running.id, author="cleo") == over
    assert cancellations(scheduler, running.event_id) == [("ada", None)]


def test_what_has_ended_is_refused_with_its_fate(
    make: Callable[..., Scheduler], until: Callable[..., Any]
) -> None:
    scheduler = make()
    execution = scheduler.trigger_now(add(scheduler, "boom").id)
    ended(scheduler, execution.id, until)
    with pytest.raises(ExecutionEnded, match="failed") as caught:
        scheduler.cancel_execution(execution.id)
    assert isinstance(caught.value, TransitionError)
    assert (caught.value.code, caught.value.details["fate"]) == ("EXECUTION_ENDED", "failed")


def test_an_id_that_there_is_not_is_refused(make: Callable[..., Scheduler]) -> None:
    scheduler = make()
    event = add(scheduler, "boom")
    with pytest.raises(ExecutionNotFound):
        scheduler.cancel_execution(event.id)
    with pytest.raises(ValidationFailed):
        scheduler.cancel_execution("no id")


def test_the_proxy_answers_with_a_future(
    make: Callable[..., Scheduler], jobs: Jobs, until: Callable[..., Any]
) -> None:
    scheduler = make()
    running = run(scheduler, jobs, "heed")
    future = scheduler.executions.cancel(running.id, note="by message")
    assert future.get(timeout=10).cancel_requested
    assert ended(scheduler, running.id, until).fate == "cancelled"


# -- from another process ----------------------------------------------------------------------


def test_a_process_that_runs_nothing_cancels_what_runs_elsewhere(
    make: Callable[..., Scheduler], jobs: Jobs, until: Callable[..., Any]
) -> None:
    runs, asks = make(), make(enabled=False)
    running = run(runs, jobs, "heed", retries=3)
    found = asks.cancel_execution(running.id, author="ada")
    assert (found.ended_at, found.cancel_requested) == (None, True)
    over = ended(asks, running.id, until)
    assert (over.fate, over.reason) == ("cancelled", "requested")
    assert cancellations(asks, running.event_id) == [("ada", None)]


def test_what_another_process_holds_and_has_not_begun_never_starts(
    make: Callable[..., Scheduler], jobs: Jobs, until: Callable[..., Any]
) -> None:
    runs, asks = make(workers=1), make(enabled=False)
    blocker = run(runs, jobs, "ignore")
    queued = runs.trigger_now(add(runs, "boom").id)
    assert asks.cancel_execution(queued.id).cancel_requested
    over = ended(asks, queued.id, until)
    assert (over.fate, over.reason, over.started_at) == ("cancelled", "requested", None)
    jobs.let_go.set()
    ended(runs, blocker.id, until)
    assert jobs.ran == [blocker.id]


def test_a_shutdown_before_the_mark_is_found_ends_what_has_not_begun(
    make: Callable[..., Scheduler], jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Storage, "look_every", None)
    runs, asks = make(workers=1, lease=3600.0), make(enabled=False)
    run(runs, jobs, "ignore")
    queued = runs.trigger_now(add(runs, "boom").id)
    assert asks.cancel_execution(queued.id).ended_at is None
    runs.shutdown(0.0)
    over = asks.get_execution(queued.id)
    assert (over.fate, over.reason, over.started_at) == ("cancelled", "requested", None)
    assert queued.id not in jobs.ran
    assert asks.verify().ok


# -- told to subscribers -----------------------------------------------------------------------


def test_whoever_listens_hears_once_of_each_that_was_cancelled(
    make: Callable[..., Scheduler], jobs: Jobs, until: Callable[..., Any]
) -> None:
    scheduler = make(workers=1)
    waiting = scheduler.trigger_now(add(scheduler, "boom", retries=3, retry_delay=3600.0).id)
    until(lambda: scheduler.get_execution(waiting.id).ready_at)
    running = run(scheduler, jobs, "heed")
    queued = scheduler.trigger_now(add(scheduler, "boom").id)
    heard: list[tuple[str | None, str, str | None, str | None]] = []
    kinds = ["execution_ended", "execution_cancelled"]
    with scheduler.subscribe(kinds=kinds) as subscription:
        for execution in (waiting, queued, running):
            scheduler.cancel_execution(execution.id, author="ada")
        for _ in range(6):
            notice = next(iter(subscription))
            named = notice.execution_id or notice.details["execution_id"]
            heard.append((named, notice.kind, notice.fate, notice.reason))
    for execution in (waiting, queued, running):
        mine = [
            (kind, fate, reason) for named, kind, fate, reason in heard if named == execution.id
        ]
        assert sorted(mine, key=str) == [
            ("execution_cancelled", None, None),
            ("execution_ended", "cancelled", "requested"),
        ]
