"""The contract of ``kalends.jobs.executors.base`` as tests that any executor can run.

Derive a test class, give it ``make_executor``, and let pytest collect it::

    class TestMyExecutor(ExecutorContract):
        def make_executor(self, size: int, queue_limit: int = 10_000) -> Executor:
            return MyExecutor(size, queue_limit)

The jobs are plain functions of this process, which ``ContractJobs`` makes; an executor of another
kind of jobs says how they are made for it. Every wait has a time-out, ``patience`` seconds.
"""

from __future__ import annotations

import threading

from kalends.errors import NotInitialized
from kalends.model import Fate
from kalends.testing.executor_bounds import BoundsContract
from kalends.testing.executor_jobs import ContractJobs
from kalends.testing.executor_owner import RecordingOwner

__all__ = ["ContractJobs", "ExecutorContract", "RecordingOwner"]


class ExecutorContract(BoundsContract):
    """Derive, and give ``make_executor``; ``jobs`` where they are made in another way."""

    # -- outcomes ------------------------------------------------------------------------------

    def test_a_job_that_returns_has_succeeded_with_its_result(self) -> None:
        with self._executor() as (executor, owner):
            task = owner.task(1, self.jobs.adds(), '{"args":[1],"kwargs":{"b":2}}')
            executor.submit([task])
            (outcome,) = owner.wait(1)
            assert outcome.fate is Fate.SUCCEEDED
            assert outcome.result == '{"sum":3}'
            assert (outcome.execution_id, outcome.event_id, outcome.attempt) == ("x1", "e1", 1)
            assert 0 < (outcome.started_us or 0) <= outcome.ended_us

    def test_whatever_a_job_raises_is_its_outcome_and_the_executor_goes_on(self) -> None:
        kinds = self.jobs.raisable
        with self._executor(1) as (executor, owner):
            executor.submit(
                [owner.task(n, self.jobs.raises(kind, "told")) for n, kind in enumerate(kinds)]
            )
            for kind, outcome in zip(kinds, owner.wait(len(kinds)), strict=True):
                assert outcome.fate is Fate.FAILED
                assert outcome.error is not None
                assert outcome.error.type.endswith(kind.__name__)
                assert outcome.error.message == "told"
            executor.submit([owner.task(99, self.jobs.returns("alive"))])
            assert owner.wait(len(kinds) + 1)[-1].result == '"alive"'

    def test_a_real_recursion_is_a_failure_of_bounded_size(self) -> None:
        with self._executor() as (executor, owner):
            executor.submit([owner.task(1, self.jobs.recurses())])
            (outcome,) = owner.wait(1)
            assert outcome.error is not None
            assert outcome.error.type == "RecursionError"
            assert len(outcome.error.traceback) <= owner.failure_limit

    def test_a_result_that_cannot_be_stored_leaves_a_note_and_a_success(self) -> None:
        with self._executor() as (executor, owner):
            executor.submit([owner.task(1, self.jobs.returns_an_object())])
            (outcome,) = owner.wait(1)
            assert outcome.fate is Fate.SUCCEEDED
            assert outcome.result is None
            assert outcome.result_note is not None
            assert "object" in outcome.result_note

    def test_arguments_that_cannot_be_read_are_refused_and_the_job_is_not_called(self) -> None:
        with self._executor() as (executor, owner):
            executor.submit([owner.task(1, self.jobs.returns(1), '{"args": 7}')])
            owner.wait(0, refusals=1)
            assert owner.refusals[0][1].code == "VALIDATION_FAILED"
            assert owner.begun == []
            assert owner.outcomes == []

    # -- order and number ----------------------------------------------------------------------

    def test_each_of_many_tasks_from_many_threads_ends_exactly_once(self) -> None:
        with self._executor(4) as (executor, owner):
            tasks = [owner.task(n, self.jobs.returns(None)) for n in range(400)]

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
            executor.submit([owner.task(n, self.jobs.returns(None)) for n in range(50)])
            executor.submit([owner.task(n, self.jobs.returns(None)) for n in range(50, 100)])
            owner.wait(100)
            assert owner.begun == [f"x{n}" for n in range(100)]

    def test_tasks_of_a_higher_priority_begin_before_others_that_wait(self) -> None:
        with self._executor(1) as (executor, owner):
            gate = self.jobs.gate()
            executor.submit([owner.task(0, self.jobs.waits(gate, None))])
            owner.wait_begun(1)
            priorities = [0, -5, 7, 0, 7, 100, -5]
            executor.submit(
                [
                    owner.task(n, self.jobs.returns(None), priority=p)
                    for n, p in enumerate(priorities, 1)
                ]
            )
            gate.open()
            owner.wait(8)
            assert owner.begun == ["x0", "x6", "x3", "x5", "x1", "x4", "x2", "x7"]

    def test_a_job_that_raises_when_it_was_called_off_was_cancelled(self) -> None:
        with self._executor(2) as (executor, owner):
            called = self.jobs.gate()
            tasks = [
                owner.task(1, self.jobs.waits_and_raises(called, InterruptedError)),
                owner.task(2, self.jobs.waits(called, "done")),
            ]
            executor.submit(tasks)
            owner.wait_begun(2)
            for task in tasks:
                task.call_off()
            called.open()
            raised, returned = owner.wait(2)
            assert raised.fate is Fate.CANCELLED
            assert raised.error is not None
            assert raised.error.type == "InterruptedError"
            assert (returned.fate, returned.result) == (Fate.SUCCEEDED, '"done"')

    def test_a_released_task_gives_up_its_place_and_still_reports_its_end(self) -> None:
        with self._executor(1) as (executor, owner):
            gate = self.jobs.gate()
            held = owner.task(1, self.jobs.waits(gate, "late"))
            executor.submit([held, owner.task(2, self.jobs.waits(gate, 2))])
            owner.wait_begun(1)
            executor.release(held)
            executor.release(held)
            owner.wait_begun(2)
            executor.submit([owner.task(3, self.jobs.returns(3))])
            assert (executor.running, executor.queued) == (1, 1), "one place was given up, not two"
            gate.open()
            assert owner.wait(3)[0].result == '"late"'
            executor.release(held)
            executor.submit([owner.task(4, self.jobs.returns(4))])
            owner.wait(4)

    def test_no_more_run_at_once_than_its_capacity_and_so_many_do(self) -> None:
        with self._executor(3) as (executor, owner):
            assert executor.capacity == 3
            gate = self.jobs.gate()
            executor.submit([owner.task(n, self.jobs.waits(gate, None)) for n in range(5)])
            owner.wait_begun(3)
            assert (executor.running, executor.queued) == (3, 2)
            assert len(owner.begun) == 3
            gate.open()
            owner.wait(5)

    def test_submit_does_not_wait_for_a_job(self) -> None:
        with self._executor(1) as (executor, owner):
            gate = self.jobs.gate()
            executor.submit([owner.task(1, self.jobs.waits(gate, None))])
            for n in range(2, 100):
                executor.submit([owner.task(n, self.jobs.returns(None))])
            assert owner.outcomes == []
            gate.open()
            owner.wait(99)

    def test_a_task_that_was_taken_back_does_not_run_and_is_not_reported(self) -> None:
        with self._executor(1) as (executor, owner):
            owner.taken_back.add("x1")
            executor.submit([owner.task(n, self.jobs.returns(n)) for n in (1, 2)])
            owner.wait(1)
            assert [outcome.execution_id for outcome in owner.outcomes] == ["x2"]
            assert owner.refusals == []

    # -- another one ---------------------------------------------------------------------------

    def test_a_fresh_one_has_the_same_bounds_and_a_life_of_its_own(self) -> None:
        model = self.make_executor(3, 7)
        made = model.fresh("other")
        assert (made.name, made.capacity, made.queue_limit) == ("other", 3, 7)
        assert made.coroutines is model.coroutines
        assert made.isolated is model.isolated
        owner = RecordingOwner()
        made.start()
        model.stop(self.patience)
        made.submit([owner.task(1, self.jobs.returns(1))])
        owner.wait(1)
        assert made.stop(self.patience) == []
        again = made.fresh("again")
        again.start()
        again.submit([owner.task(2, self.jobs.returns(2))])
        owner.wait(2)
        assert again.stop(self.patience) == []

    # -- context -------------------------------------------------------------------------------

    def test_a_job_sees_its_own_execution(self) -> None:
        with self._executor() as (executor, owner):
            executor.submit([owner.task(n, self.jobs.names_its_execution()) for n in (1, 2, 3)])
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
        gate = self.jobs.gate()
        executor.submit(
            [owner.task(1, self.jobs.waits(gate, 1)), owner.task(2, self.jobs.returns(2))]
        )
        owner.wait_begun(1)
        left: list[list[str]] = []
        stopper = threading.Thread(target=lambda: left.append(executor.stop(self.patience)))
        stopper.start()
        gate.open()
        stopper.join(self.patience)
        assert left in ([["x2"]], [[]])
        assert len(owner.outcomes) == 2 - len(left[0])

    def test_stop_returns_what_does_not_end_in_time(self) -> None:
        executor, owner = self.make_executor(1), RecordingOwner()
        executor.start()
        gate = self.jobs.gate()
        executor.submit(
            [owner.task(1, self.jobs.waits(gate, 1)), owner.task(2, self.jobs.returns(2))]
        )
        owner.wait_begun(1)
        assert sorted(executor.stop(0.05)) == ["x1", "x2"]
        gate.open()
        assert executor.stop(self.patience) == []
        assert "x2" not in owner.begun

    def test_a_stopped_executor_refuses_tasks(self) -> None:
        executor, owner = self.make_executor(1), RecordingOwner()
        executor.start()
        executor.stop(self.patience)
        try:
            executor.submit([owner.task(1, self.jobs.returns(1))])
        except NotInitialized:
            return
        raise AssertionError("it took a task after stop")
