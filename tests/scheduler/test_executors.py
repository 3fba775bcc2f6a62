"""Which executor runs what, and what becomes of what finds no room there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kalends import Registry, Scheduler, ValidationFailed, every
from kalends.jobs.executors.thread import ThreadExecutor
from kalends.testing import VirtualScheduler

Make = Callable[..., Scheduler]


@pytest.fixture
def registry() -> Registry:
    """Jobs that say which thread they run on, and one that is for coroutines."""
    made = Registry()
    made.register(lambda: threading.current_thread().name, "where")
    made.register(lambda: threading.current_thread().name, "elsewhere", "special")

    async def work() -> None: ...

    made.register(work, "work")
    return made


@pytest.fixture
def make(registry: Registry) -> Iterator[Make]:
    started: list[Scheduler] = []

    def start(**more: Any) -> Scheduler:
        started.append(Scheduler(":memory:", registry=registry, environ={}, **more).start())
        return started[-1]

    yield start
    for scheduler in started:
        scheduler.shutdown(10)


def run(scheduler: Scheduler, until: Callable[..., Any], event: Any) -> Any:
    execution = scheduler.trigger_now(event.id)
    return until(lambda: (found := scheduler.get_execution(execution.id)).ended_at and found)


class Special(ThreadExecutor):
    """Threads that can be told from the others."""

    def fresh(self, name: str) -> Special:
        return Special(self.capacity, queue_limit=self.queue_limit, name=name)

    def submit(self, tasks: Any) -> Any:
        special.extend(task.claim.event_name for task in tasks)
        return super().submit(tasks)


special: list[str] = []


def test_an_event_chooses_its_executor_and_changes_it_and_else_its_job_does(
    make: Make, until: Callable[..., Any]
) -> None:
    scheduler = make(executors={"special": Special(2)})
    special.clear()
    plain = scheduler.schedule_event("where", every(hours=1), name="plain")
    chosen = scheduler.schedule_event("where", every(hours=1), name="chosen", executor="special")
    by_job = scheduler.schedule_event("elsewhere", every(hours=1), name="by_job")
    back = scheduler.schedule_event("elsewhere", every(hours=1), name="back", executor="thread")
    assert (plain.policies.executor, chosen.policies.executor) == (None, "special")
    for event in (plain, chosen, by_job, back):
        assert run(scheduler, until, event).fate == "succeeded"
    assert special == ["chosen", "by_job"]
    scheduler.update_event(chosen.id, executor=None)
    scheduler.update_event(plain.id, executor="special")
    for event in (chosen, plain):
        run(scheduler, until, event)
    assert special == ["chosen", "by_job", "plain"]


def test_an_executor_that_there_is_not_is_refused_with_the_one_that_was_meant(make: Make) -> None:
    scheduler = make(executors={"special": ThreadExecutor(1)})
    event = scheduler.schedule_event("where", every(hours=1))
    with pytest.raises(ValidationFailed, match="did you mean 'special'") as refused:
        scheduler.schedule_event("where", every(hours=1), executor="specail")
    assert refused.value.details["path"] == "executor"
    with pytest.raises(ValidationFailed, match="did you mean 'special'") as refused:
        scheduler.update_event(event.id, executor="specail")
    assert refused.value.details["path"] == "executor"
    bare = make()
    with pytest.raises(ValidationFailed, match="'special'") as refused:
        bare.schedule_event("elsewhere", every(hours=1))
    assert refused.value.details["path"] == "job"


def test_an_executor_that_cannot_run_such_a_function_is_refused(make: Make) -> None:
    scheduler = make()
    with pytest.raises(ValidationFailed, match="coroutine function") as refused:
        scheduler.schedule_event("work", every(hours=1), executor="thread")
    assert refused.value.details["path"] == "executor"


@pytest.mark.parametrize(
    "executors",
    [
        [],
        "thread",
        {1: ThreadExecutor()},
        {"": ThreadExecutor()},
        {"a": None},
        {"a": ThreadExecutor},
    ],
)
def test_what_is_no_mapping_of_names_to_executors_is_refused(executors: Any) -> None:
    with pytest.raises(ValidationFailed) as refused:
        Scheduler(":memory:", executors=executors)
    assert refused.value.details["path"].startswith("executors")


def test_the_executors_that_are_given_are_models_and_serve_every_start(
    registry: Registry, until: Callable[..., Any], tmp_path: Any
) -> None:
    model = ThreadExecutor(3)
    for _ in range(2):
        scheduler = Scheduler(tmp_path / "a.db", registry=registry, executors={"special": model})
        for _ in range(2):
            with scheduler:
                event = scheduler.schedule_event(
                    "elsewhere", every(hours=1), name="a", on_conflict="keep"
                )
                assert run(scheduler, until, event).fate == "succeeded"
    assert model.threads == 0


def test_the_settings_choose_no_executor_for_everybody() -> None:
    with pytest.raises(ValidationFailed, match="for a job, or for an event"):
        Scheduler(":memory:", policies={"executor": "thread"})


# -- no room -------------------------------------------------------------------------------------


def test_what_comes_to_a_full_queue_is_skipped_and_the_ledger_says_why(registry: Registry) -> None:
    with VirtualScheduler(
        registry=registry, workers=1, queue_limit=2, durations={"where": 90.0}
    ) as scheduler:
        for n, priority in enumerate([0, 0, 0, 0, 5]):
            scheduler.schedule_event(
                "where", every(minutes=10), name=f"event-{n}", priority=priority
            )
        scheduler.advance(600)
        scheduler.advance(300)
        fates = {
            name: execution.fate
            for name in (f"event-{n}" for n in range(5))
            for execution in scheduler.list_executions(event_id=by_name(scheduler, name)).items
        }
        assert sorted(fates.values()) == ["skipped", "skipped", *["succeeded"] * 3]
        assert fates["event-4"] == "succeeded"
        skipped = next(name for name, fate in fates.items() if fate == "skipped")
        event_id = by_name(scheduler, skipped)
        (execution,) = scheduler.list_executions(event_id=event_id).items
        assert (execution.reason, execution.attempts, execution.started_at) == (
            "queue_full",
            (),
            None,
        )
        told = scheduler.explain(event_id, execution.due)
        assert "as many executions as may wait for its executor" in str(told)
        assert scheduler.verify().ok


def by_name(scheduler: Scheduler, name: str) -> str:
    (event,) = scheduler.list_events(name=name).items
    return event.id


def test_a_further_attempt_that_finds_no_room_waits_and_comes_again(registry: Registry) -> None:
    with VirtualScheduler(
        registry=registry,
        workers=1,
        queue_limit=0,
        durations={"long": 3.0, "where": 1.0},
        failures={"where": lambda due, attempt, rng: attempt == 1},
    ) as scheduler:
        registry.register(lambda: None, "long")
        retried = scheduler.schedule_event(
            "where", every(minutes=10), retries=1, retry_delay=2.0, retry_jitter=0.0
        )
        scheduler.advance(602)
        other = scheduler.schedule_event("long", every(hours=1))
        scheduler.trigger_now(other.id)
        scheduler.advance(60)
        (execution,) = scheduler.list_executions(event_id=retried.id).items
        assert [attempt.outcome for attempt in execution.attempts] == ["failed", "succeeded"]
        assert execution.duration == 1.0
        assert execution.started_at is not None
        assert (execution.started_at - execution.due).total_seconds() >= 5.0
        assert scheduler.verify().ok
