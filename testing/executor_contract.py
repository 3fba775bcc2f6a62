"""The contract of ``kalends.jobs.executors.base`` as tests that any executor can run.

Derive a test class, give it ``make_executor``, and let pytest collect it::

    class TestMyExecutor(ExecutorContract):
        def make_executor(self, size: int) -> Executor:
            return MyExecutor(size)

The jobs are plain functions of this process: ``registry`` names them. Every wait has a time-out,
``patience`` seconds.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from greenlet import GreenletExit

from kalends.clock import Clock, SystemClock
from kalends.errors import KalendsError, NotInitialized
from kalends.jobs.context import current
from kalends.jobs.executors.base import Executor, Task
from kalends.jobs.registry import Registry
from kalends.model import Fate
from kalends.work import Claim, Outcome

__all__ = ["ExecutorContract", "RecordingOwner"]


class RecordingOwner:
    """An owner that writes down what it is told. ``taken_back``: ids whose ``begin`` it refuses."""

    def __init__(self) -> None:
        self.clock: Clock = SystemClock()
        self.registry = Registry()
        self.result_limit = 65_536
        self.failure_limit = 16_384
        self.taken_back: set[str] = set()
        self.begun: list[str] = []
        self.outcomes: list[Outcome] = []
        self.refusals: list[tuple[str, KalendsError]] = []
        self._changed = threading.Condition()

    def task(
        self,
        number: int,
        function: Callable[..., Any],
        arguments: str | None = None,
        priority: int = 0,
    ) -> Task:
        """A task that calls ``function``; its execution id is ``x<number>``."""
        name = f"job-{number}"
        self.registry.register(function, name)
        claim = Claim(
            id=f"x{number}",
            event_id=f"e{number}",
            event_name=f"event {number}",
            job=name,
            arguments=arguments or '{"args":[],"kwargs":{}}',
            due=0,
            attempt=1,
            version=1,
            serial=False,
            priority=priority,
        )
        return Task(claim, self.registry.get(name), self)

    def begin(self, task: Task) -> bool:
        with self._changed:
            if task.claim.id in self.taken_back:
                return False
            task.started_us = self.clock.now_us()
            self.begun.append(task.claim.id)
            self._changed.notify_all()
            return True

    def end(self, task: Task, outcome: Outcome) -> None:
        with self._changed:
            self.outcomes.append(outcome)
            self._changed.notify_all()

    def refuse(self, task: Task, error: KalendsError) -> None:
        with self._changed:
            self.refusals.append((task.claim.id, error))
            self._changed.notify_all()

    def wait(self, outcomes: int, refusals: int = 0, *, patience: float = 10.0) -> list[Outcome]:
        """Wait until so many have been told; the outcomes, by execution id."""
        with self._changed:
            told = self._changed.wait_for(
                lambda: len(self.outcomes) >= outcomes and len(self.refusals) >= refusals, patience
            )
            assert told, f"{len(self.outcomes)} outcomes, {len(self.refusals)} refusals in time"
            return sorted(self.outcomes, key=lambda outcome: outcome.execution_id)

    def wait_begun(self, count: int, *, patience: float = 10.0) -> None:
        """Wait until so many jobs have begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.begun) >= count, patience)


class ExecutorContract:
    """Derive, and give ``make_executor``."""

    patience = 10.0

    def make_executor(self, size: int) -> Executor:
        """A new executor, not started, that runs at most ``size`` tasks at once."""
        raise NotImplementedError

    @contextmanager
    def _executor(self, size: int = 2) -> Iterator[tuple[Executor, RecordingOwner]]:
        executor = self.make_executor(size)
        executor.start()
        try:
            yield executor, RecordingOwner()
        finally:
            executor.stop(self.patience)

    # -- outcomes ------------------------------------------------------------------------------

    def test_a_job_that_returns_has_succeeded_with_its_result(self) -> None:
        with self._executor() as (executor, owner):
            task = owner.task(1, lambda a, b: {"sum": a + b}, '{"args":[1],"kwargs":{"b":2}}')
            executor.submit([task])
            (outcome,) = owner.wait(1)
            assert outcome.fate is Fate.SUCCEEDED
            assert outcome.result == '{"sum":3}'
            assert (outcome.execution_id, outcome.event_id, outcome.attempt) == ("x1", "e1", 1)
            assert 0 < (outcome.started_us or 0) <= outcome.ended_us

    def test_whatever_a_job_raises_is_its_outcome_and_the_executor_goes_on(self) -> None:
        kinds: list[type[BaseException]] = [
            ValueError,
            SystemExit,
            KeyboardInterrupt,
            GreenletExit,
            GeneratorExit,
            MemoryError,
            RecursionError,
            StopIteration,
        ]

        def raising(kind: type[BaseException]) -> Callable[[], None]:
            def job() -> None:
                raise kind("told")

            return job

        with self._executor(1) as (executor, owner):
            executor.submit([owner.task(n, raising(kind)) for n, kind in enumerate(kinds)])
            for kind, outcome in zip(kinds, owner.wait(len(kinds)), strict=True):
                assert outcome.fate is Fate.FAILED
                assert outcome.error is not None
                assert outcome.error.type.endswith(kind.__name__)
                assert outcome.error.message == "told"
            executor.submit([owner.task(99, lambda: "alive")])
            assert owner.wait(len(kinds) + 1)[-1].result == '"alive"'

    def test_sys_exit_in_a_job_is_a_failure_and_ends_nothing(self) -> None:
        with self._executor() as (executor, owner):
            executor.submit([owner.task(1, lambda: sys.exit(3)), owner.task(2, lambda: 2)])
            first, second = owner.wait(2)
            assert (first.fate, second.fate) == (Fate.FAILED, Fate.SUCCEEDED)

    def test_a_real_recursion_is_a_failure_of_bounded_size(self) -> None:
        def deep(n: int) -> int:
            return deep(n + 1)

        with self._executor() as (executor, owner):
            executor.submit([owner.task(1, lambda: deep(0))])
            (outcome,) = owner.wait(1)
            assert outcome.error is not None
            assert outcome.error.type == "RecursionError"
            assert len(outcome.error.traceback) <= owner.failure_limit

    def test_a_result_that_cannot_be_stored_leaves_a_note_and_a_success(self) -> None:
        with self._executor() as (executor, owner):
            executor.submit([owner.task(1, object)])
            (outcome,) = owner.wait(1)
            assert outcome.fate is Fate.SUCCEEDED
            assert outcome.result is None
            assert outcome.result_note is not None
            assert "object" in outcome.result_note

    def test_arguments_that_cannot_be_read_are_refused_and_the_job_is_not_called(self) -> None:
        with self._executor() as (executor, owner):
            executor.submit([owner.task(1, lambda: 1, '{"args": 7}')])
            owner.wait(0, refusals=1)
            assert owner.refusals[0][1].code == "VALIDATION_FAILED"
            assert owner.begun == []
            assert owner.outcomes == []

    # -- order and number ----------------------------------------------------------------------

    def test_each_of_many_tasks_from_many_threads_ends_exactly_once(self) -> None:
        with self._executor(4) as (executor, owner):
            tasks = [owner.task(n, lambda: None) for n in range(400)]

            def submit(part: int) -> None:
                for task in tasks[part::4]:
                    executor.submit([task])

            threads = [threading.Thread(target=submit, args=(part,)) for part in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(self.patience)
            ended = [outcome.execution_id for outcome in owner.wait(400)]
            assert sorted(ended) == sorted(f"x{n}" for n in range(400))

    def test_tasks_begin_in_the_order_they_were_submitted(self) -> None:
        with self._executor(1) as (executor, owner):
            executor.submit([owner.task(n, lambda: None) for n in range(50)])
            executor.submit([owner.task(n, lambda: None) for n in range(50, 100)])
            owner.wait(100)
            assert owner.begun == [f"x{n}" for n in range(100)]

    def test_tasks_of_a_higher_priority_begin_before_others_that_wait(self) -> None:
        with self._executor(1) as (executor, owner):
            gate = threading.Event()
            executor.submit([owner.task(0, lambda: gate.wait(10) and None)])
            owner.wait_begun(1)
            priorities = [0, -5, 7, 0, 7, 100, -5]
            executor.submit(
                [owner.task(n, lambda: None, priority=p) for n, p in enumerate(priorities, 1)]
            )
            gate.set()
            owner.wait(8)
            assert owner.begun == ["x0", "x6", "x3", "x5", "x1", "x4", "x2", "x7"]

    def test_a_job_that_raises_when_it_was_called_off_was_cancelled(self) -> None:
        def stop() -> None:
            called.wait(10)
            raise InterruptedError("told to")

        with self._executor(2) as (executor, owner):
            called = threading.Event()
            tasks = [owner.task(1, stop), owner.task(2, lambda: called.wait(10) and "done")]
            executor.submit(tasks)
            owner.wait_begun(2)
            for task in tasks:
                task.call_off()
            called.set()
            raised, returned = owner.wait(2)
            assert raised.fate is Fate.CANCELLED
            assert raised.error is not None
            assert raised.error.type == "InterruptedError"
            assert (returned.fate, returned.result) == (Fate.SUCCEEDED, '"done"')

    def test_a_released_task_gives_up_its_place_and_still_reports_its_end(self) -> None:
        with self._executor(1) as (executor, owner):
            gate = threading.Event()
            held = owner.task(1, lambda: gate.wait(10) and "late")
            executor.submit([held, owner.task(2, lambda: gate.wait(10) and 2)])
            owner.wait_begun(1)
            executor.release(held)
            executor.release(held)
            owner.wait_begun(2)
            executor.submit([owner.task(3, lambda: 3)])
            assert (executor.running, executor.queued) == (1, 1), "one place was given up, not two"
            gate.set()
            assert owner.wait(3)[0].result == '"late"'
            executor.release(held)
            executor.submit([owner.task(4, lambda: 4)])
            owner.wait(4)

    def test_no_more_run_at_once_than_its_capacity_and_so_many_do(self) -> None:
        with self._executor(3) as (executor, owner):
            assert executor.capacity == 3
            gate = threading.Event()
            executor.submit([owner.task(n, lambda: gate.wait(10) and None) for n in range(5)])
            owner.wait_begun(3)
            assert (executor.running, executor.queued) == (3, 2)
            assert len(owner.begun) == 3
            gate.set()
            owner.wait(5)

    def test_submit_does_not_wait_for_a_job(self) -> None:
        with self._executor(1) as (executor, owner):
            gate = threading.Event()
            executor.submit([owner.task(1, lambda: gate.wait(10) and None)])
            for n in range(2, 100):
                executor.submit([owner.task(n, lambda: None)])
            assert owner.outcomes == []
            gate.set()
            owner.wait(99)

    def test_a_task_that_was_taken_back_does_not_run_and_is_not_reported(self) -> None:
        with self._executor(1) as (executor, owner):
            ran: list[int] = []
            owner.taken_back.add("x1")
            executor.submit([owner.task(n, lambda n=n: ran.append(n)) for n in (1, 2)])
            owner.wait(1)
            assert ran == [2]
            assert [outcome.execution_id for outcome in owner.outcomes] == ["x2"]
            assert owner.refusals == []

    # -- context -------------------------------------------------------------------------------

    def test_a_job_sees_its_own_execution(self) -> None:
        with self._executor() as (executor, owner):
            executor.submit([owner.task(n, lambda: current().execution_id) for n in (1, 2, 3)])
            assert [outcome.result for outcome in owner.wait(3)] == ['"x1"', '"x2"', '"x3"']

    # -- stop ----------------------------------------------------------------------------------

    def test_stop_before_start_and_stop_again_change_nothing(self) -> None:
        executor = self.make_executor(2)
        assert executor.stop(1.0) == []
        assert executor.stop(1.0) == []
        executor.start()
        assert executor.stop(1.0) == []

    def test_stop_waits_for_what_runs_and_begins_nothing_more(self) -> None:
        executor, owner = self.make_executor(1), RecordingOwner()
        executor.start()
        gate = threading.Event()
        executor.submit([owner.task(1, lambda: gate.wait(10) and 1), owner.task(2, lambda: 2)])
        owner.wait_begun(1)
        left: list[list[str]] = []
        stopper = threading.Thread(target=lambda: left.append(executor.stop(self.patience)))
        stopper.start()
        gate.set()
        stopper.join(self.patience)
        assert left in ([["x2"]], [[]])
        assert len(owner.outcomes) == 2 - len(left[0])

    def test_stop_returns_what_does_not_end_in_time(self) -> None:
        executor, owner = self.make_executor(1), RecordingOwner()
        executor.start()
        gate = threading.Event()
        executor.submit([owner.task(1, lambda: gate.wait(10) and 1), owner.task(2, lambda: 2)])
        owner.wait_begun(1)
        assert sorted(executor.stop(0.05)) == ["x1", "x2"]
        gate.set()
        assert executor.stop(self.patience) == []
        assert "x2" not in owner.begun

    def test_a_stopped_executor_refuses_tasks(self) -> None:
        executor, owner = self.make_executor(1), RecordingOwner()
        executor.start()
        executor.stop(self.patience)
        try:
            executor.submit([owner.task(1, lambda: 1)])
        except NotInitialized:
            return
        raise AssertionError("it took a task after stop")
