"""What jobs tell while they run: seen at once here, soon elsewhere, in the ledger at the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pendulum
import pytest

from kalends import Execution, JobLogHandler, Registry, Scheduler, ValidationFailed, current, once

LATER = pendulum.datetime(2999, 1, 1, tz="UTC")


class Worker:
    """A job that does the steps it is given, one after the other."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.registry.register(self.work, "work")
        self.steps: list[Callable[[], object]] = []
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)

    def work(self) -> None:
        while True:
            assert self._go.acquire(timeout=30)
            if not self.steps:
                return
            try:
                self.steps.pop()()
            finally:
                self._done.release()

    def do(self, step: Callable[[], object]) -> None:
        self.steps.append(step)
        self._go.release()
        assert self._done.acquire(timeout=10)

    def end(self) -> None:
        self._go.release()


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.end()


@pytest.fixture
def make(tmp_path: Path, worker: Worker) -> Iterator[Callable[..., Scheduler]]:
    made: list[Scheduler] = []

    def start(**settings: Any) -> Scheduler:
        scheduler = Scheduler(
            tmp_path / "kalends.db", registry=worker.registry, environ={}, **settings
        )
        made.append(scheduler)
        return scheduler.start()

    yield start
    worker.steps.clear()
    worker.end()
    for scheduler in reversed(made):
        scheduler.shutdown(10.0)


def run(scheduler: Scheduler, **policies: Any) -> str:
    return scheduler.trigger_now(scheduler.schedule_event("work", once(LATER), **policies).id).id


def ended(scheduler: Scheduler, execution_id: str, until: Callable[..., Any]) -> Execution:
    def look() -> Execution | None:
        found = scheduler.get_execution(execution_id)
        return found if found.ended_at is not None else None

    execution: Execution = until(look)
    return execution


def test_progress_is_seen_at_once_and_the_latest_counts(
    make: Callable[..., Scheduler], worker: Worker
) -> None:
    scheduler = make()
    execution_id = run(scheduler)
    for fraction, note in ((0.25, "a quarter"), (0.5, None)):
        worker.do(lambda said=(fraction, note): current().progress(*said))  # type: ignore[misc]  # mypy has no types for defaults of a lambda
        execution = scheduler.get_execution(execution_id)
        assert (execution.progress, execution.note) == (fraction, note)


def test_progress_and_log_are_seen_by_another_process_while_the_job_runs(
    make: Callable[..., Scheduler], worker: Worker, until: Callable[..., Any]
) -> None:
    runs, looks = make(follow_every=0.05), make(enabled=False)
    execution_id = run(runs)
    worker.do(lambda: current().progress(0.25, "a quarter"))
    worker.do(lambda: current().log.info("hello"))
    seen = until(lambda: (found := looks.get_execution(execution_id)).attempts[0].log and found)
    assert (seen.progress, seen.note) == (0.25, "a quarter")
    assert [line.message for line in seen.attempts[0].log] == ["hello"]
    worker.do(lambda: current().progress(0.75))
    until(lambda: looks.get_execution(execution_id).progress == 0.75)


def test_at_the_end_the_ledger_has_what_was_told_last(
    make: Callable[..., Scheduler], worker: Worker, until: Callable[..., Any]
) -> None:
    scheduler = make(follow_every=3600.0)
    execution_id = run(scheduler)
    worker.do(lambda: current().progress(0.9, "nearly"))
    worker.do(lambda: current().log.warning("slow", seconds=3))
    worker.end()
    execution = ended(scheduler, execution_id, until)
    (attempt,) = execution.attempts
    assert (execution.fate, attempt.progress, attempt.note) == ("succeeded", 0.9, "nearly")
    assert [(line.level, line.message) for line in attempt.log] == [("warning", "slow seconds=3")]
    listed = msgspec.structs.replace(attempt, log=())
    (found,) = scheduler.list_executions(event_id=execution.event_id).items
    assert found == msgspec.structs.replace(execution, attempts=(listed,))


def test_each_attempt_has_its_own(
    make: Callable[..., Scheduler], worker: Worker, until: Callable[..., Any]
) -> None:
    scheduler = make()
    execution_id = run(scheduler, retries=1, retry_delay=0.0)

    def fail() -> None:
        current().log.info("first")
        current().progress(0.5)
        raise RuntimeError("no")

    worker.do(fail)
    worker.do(lambda: current().log.info("second"))
    worker.end()
    first, second = ended(scheduler, execution_id, until).attempts
    assert (first.outcome, first.progress, [line.message for line in first.log]) == (
        "failed",
        0.5,
        ["first"],
    )
    assert (second.outcome, second.progress, [line.message for line in second.log]) == (
        "succeeded",
        None,
        ["second"],
    )


def test_a_job_that_tells_nonsense_is_refused_there(
    make: Callable[..., Scheduler], worker: Worker, until: Callable[..., Any]
) -> None:
    scheduler = make()
    execution_id = run(scheduler)
    refused: list[ValidationFailed] = []

    def tell() -> None:
        with pytest.raises(ValidationFailed) as caught:
            current().progress(99)
        refused.append(caught.value)

    worker.do(tell)
    worker.end()
    assert ended(scheduler, execution_id, until).fate == "succeeded"
    assert refused[0].details["path"] == "fraction"


def test_the_settings_say_how_much_of_a_log_is_kept(
    make: Callable[..., Scheduler], worker: Worker, until: Callable[..., Any]
) -> None:
    scheduler = make(max_log_lines=2)
    execution_id = run(scheduler)

    def talk() -> None:
        for number in range(1000):
            current().log.info("line", number=number)

    worker.do(talk)
    worker.end()
    (attempt,) = ended(scheduler, execution_id, until).attempts
    assert [line.message for line in attempt.log] == ["line number=998", "line number=999"]
    assert attempt.log_dropped == 998


def test_what_the_standard_library_logs_is_kept_where_the_host_has_the_handler(
    make: Callable[..., Scheduler], worker: Worker, until: Callable[..., Any]
) -> None:
    scheduler = make()
    logger = logging.getLogger("kalends_test.progress")
    handler = JobLogHandler()
    logger.addHandler(handler)
    try:
        execution_id = run(scheduler)
        worker.do(lambda: logger.warning("by %s", "logging"))
        worker.end()
        (attempt,) = ended(scheduler, execution_id, until).attempts
    finally:
        logger.removeHandler(handler)
    assert [(line.level, line.message) for line in attempt.log] == [("warning", "by logging")]
    assert attempt.started_at is not None
    assert attempt.ended_at is not None
    assert attempt.started_at <= attempt.log[0].at <= attempt.ended_at
