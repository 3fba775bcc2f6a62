"""Executors of the host's that raise where their contract says they do not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kalends
from kalends import Registry, Scheduler, ValidationFailed, every
from kalends.jobs.executors.thread import ThreadExecutor

Until = Callable[..., Any]


class Own(ThreadExecutor):
    """One of a host's; those below it are its mistakes."""

    def fresh(self, name: str) -> Any:
        return type(self)(self.capacity, name=name)


class NotFresh(Own):
    def fresh(self, name: str) -> Any:
        raise RuntimeError("no other one")


class FreshNothing(Own):
    def fresh(self, name: str) -> Any:
        return None


class NoStart(Own):
    def start(self) -> None:
        raise RuntimeError("no start of mine")


class NoSubmit(Own):
    def submit(self, tasks: Any) -> Any:
        raise RuntimeError("no submit of mine")


class Lying(Own):
    def submit(self, tasks: Any) -> Any:
        super().submit(tasks)
        return [object()]


class NoRelease(Own):
    def release(self, task: Any) -> None:
        raise RuntimeError("no release of mine")


class NoInterrupt(Own):
    def interrupt(self, task: Any) -> bool:
        raise RuntimeError("no interrupt of mine")


class NoStatus(Own):
    @property
    def queued(self) -> int:
        if self._started:
            raise RuntimeError("no number of mine")
        return 0


class NoStop(Own):
    def stop(self, timeout: float) -> list[str]:
        super().stop(timeout)
        raise RuntimeError("no stop of mine")


let_go = threading.Event()


def until_told() -> str:
    while not kalends.current().cancelled:
        let_go.wait(0.01)
    return "told"


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    made.register(lambda: "done", "quick")
    made.register(until_told, "until_told")
    return made


@pytest.fixture
def make(registry: Registry, tmp_path: Any) -> Iterator[Callable[..., Scheduler]]:
    started: list[Scheduler] = []

    def start(own: ThreadExecutor | None = None, **more: Any) -> Scheduler:
        executors = None if own is None else {"own": own}
        started.append(
            Scheduler(
                tmp_path / "k.db", registry=registry, environ={}, executors=executors, **more
            ).start()
        )
        return started[-1]

    yield start
    for scheduler in started:
        scheduler.shutdown(10)


def ended(scheduler: Scheduler, until: Until, execution: Any) -> Any:
    return until(lambda: (found := scheduler.get_execution(execution.id)).ended_at and found)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (NotFresh, r"fresh\(\) of executor 'own' raised RuntimeError: no other one"),
        (FreshNothing, r"fresh\(\) of executor 'own' gave no executor"),
        (NoStart, r"start\(\) of executor 'own' raised RuntimeError: no start of mine"),
    ],
)
def test_one_that_cannot_be_had_is_named_and_nothing_is_left_behind(
    make: Callable[..., Scheduler], kind: type[Own], says: str, until: Until
) -> None:
    before = threading.active_count()
    with pytest.raises(ValidationFailed, match=says) as refused:
        make(kind(2))
    assert refused.value.details["path"] == "executors.own"
    until(lambda: threading.active_count() == before)


def test_what_it_does_not_take_has_failed_with_its_error_and_others_run(
    make: Callable[..., Scheduler], until: Until, logged: list[dict[str, Any]]
) -> None:
    scheduler = make(NoSubmit(2))
    event = scheduler.schedule_event("quick", every(hours=1), executor="own")
    failed = ended(scheduler, until, scheduler.trigger_now(event.id))
    assert failed.fate == "failed"
    assert (failed.error.type, failed.error.message) == ("RuntimeError", "no submit of mine")
    assert scheduler.get_event(event.id).status == "active"
    other = scheduler.schedule_event("quick", every(hours=1))
    assert ended(scheduler, until, scheduler.trigger_now(other.id)).fate == "succeeded"
    assert {"executor": "own", "method": "submit"}.items() <= next(
        it for it in logged if it["event"] == "executor_failed"
    ).items()
    assert scheduler.verify().ok


def test_a_long_line_of_what_it_does_not_take_fails_one_after_the_other(
    make: Callable[..., Scheduler], until: Until
) -> None:
    scheduler = make(NoSubmit(2))
    event = scheduler.schedule_event("quick", every(hours=1), executor="own", overlap="buffer_all")
    for _ in range(300):
        scheduler.trigger_now(event.id)
    until(lambda: scheduler.count_executions(fate="failed") == 300)
    assert scheduler.status().state == "running"


def test_what_it_turns_away_and_was_never_given_is_nobody_s(
    make: Callable[..., Scheduler], until: Until
) -> None:
    scheduler = make(Lying(2))
    event = scheduler.schedule_event("quick", every(hours=1), executor="own")
    assert ended(scheduler, until, scheduler.trigger_now(event.id)).fate == "succeeded"


@pytest.mark.parametrize(("kind", "method"), [(NoRelease, "release"), (NoInterrupt, "interrupt")])
def test_a_time_out_is_recorded_all_the_same(
    make: Callable[..., Scheduler],
    until: Until,
    logged: list[dict[str, Any]],
    kind: type[Own],
    method: str,
) -> None:
    scheduler = make(kind(2))
    event = scheduler.schedule_event("until_told", every(hours=1), executor="own", timeout=0.1)
    assert ended(scheduler, until, scheduler.trigger_now(event.id)).fate == "timed_out"
    told = [it for it in logged if it["event"] == "executor_failed"]
    assert {"executor": "own", "method": method}.items() <= told[0].items()


def test_one_that_does_not_say_how_it_is_is_left_out_of_the_status_and_logged(
    make: Callable[..., Scheduler], until: Until, logged: list[dict[str, Any]]
) -> None:
    scheduler = make(NoStatus(2))
    found = {status.name for status in scheduler.status().executors}
    assert found == {"thread", "greenlet", "asyncio", "process"}
    told = [it for it in logged if it["event"] == "executor_failed"]
    assert {"executor": "own", "method": "status"}.items() <= told[0].items()
    event = scheduler.schedule_event("quick", every(hours=1), executor="own")
    assert ended(scheduler, until, scheduler.trigger_now(event.id)).fate == "succeeded"


def test_a_shutdown_takes_every_step_and_says_that_it_was_not_clean(
    make: Callable[..., Scheduler], until: Until, logged: list[dict[str, Any]]
) -> None:
    before = threading.active_count()
    scheduler = make(NoStop(2))
    event = scheduler.schedule_event("quick", every(hours=1), executor="own")
    execution = scheduler.trigger_now(event.id)
    ended(scheduler, until, execution)
    running = scheduler.trigger_now(scheduler.schedule_event("until_told", every(hours=1)).id)
    until(lambda: scheduler.get_execution(running.id).fate == "running")
    report = scheduler.shutdown(10)
    assert (report.clean, report.abandoned, report.unrecorded) == (False, (), 0)
    assert scheduler.status().state == "stopped"
    until(lambda: threading.active_count() == before)
    assert "stop" in {it["method"] for it in logged if it["event"] == "executor_failed"}
    again = make(enabled=False)
    assert again.get_execution(running.id).fate == "succeeded"


def test_a_step_of_a_shutdown_that_raises_keeps_no_other_from_being_taken(
    make: Callable[..., Scheduler],
    until: Until,
    logged: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = threading.active_count()
    scheduler = make()
    assert scheduler._system is not None

    def raises(_timeout: object) -> list[Any]:
        raise RuntimeError("a bug")

    real = scheduler._system.runner.stop
    monkeypatch.setattr(scheduler._system.runner, "stop", raises)
    assert scheduler.shutdown(5).clean is False
    real(5)  # what the bug has left out
    until(lambda: threading.active_count() == before)
    assert [it["step"] for it in logged if it["event"] == "shutdown_step_failed"] == ["stop_jobs"]
    assert scheduler.status().state == "stopped"
