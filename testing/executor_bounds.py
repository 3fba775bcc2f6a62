"""The part of the executor contract about room, and about stopping jobs."""

from __future__ import annotations

from kalends.model import Fate
from kalends.testing.executor_owner import ExecutorTests

__all__ = ["BoundsContract"]


class BoundsContract(ExecutorTests):
    """Tests of ``capacity``, ``queue_limit`` and ``interrupt``."""

    # -- bounds --------------------------------------------------------------------------------

    def test_beyond_its_places_and_its_queue_the_newest_are_turned_away(self) -> None:
        with self._executor(1, queue_limit=2) as (executor, owner):
            assert executor.queue_limit == 2
            gate = self.jobs.gate()
            assert not executor.submit([owner.task(0, self.jobs.waits(gate, None))])
            owner.wait_begun(1)
            tasks = [owner.task(n, self.jobs.returns(n)) for n in range(1, 6)]
            assert set(executor.submit(tasks)) == set(tasks[2:])
            assert executor.queued == 2
            gate.open()
            owner.wait(3)
            assert owner.begun == ["x0", "x1", "x2"]

    def test_what_finds_a_free_place_need_not_fit_into_the_queue(self) -> None:
        with self._executor(2, queue_limit=0) as (executor, owner):
            gate = self.jobs.gate()
            tasks = [owner.task(n, self.jobs.waits(gate, n)) for n in range(3)]
            assert list(executor.submit(tasks)) == tasks[2:]
            owner.wait_begun(2)
            gate.open()
            owner.wait(2)

    def test_a_higher_priority_takes_the_place_of_a_lower_one_in_a_full_queue(self) -> None:
        with self._executor(1, queue_limit=2) as (executor, owner):
            gate = self.jobs.gate()
            executor.submit([owner.task(0, self.jobs.waits(gate, None))])
            owner.wait_begun(1)
            tasks = [owner.task(n, self.jobs.returns(n), priority=n % 3) for n in range(1, 6)]
            assert not executor.submit(tasks[:2])
            assert list(executor.submit([tasks[2]])) == [tasks[2]], "0 is below 1 and 2"
            assert list(executor.submit([tasks[4]])) == [tasks[0]], "2 goes before 1"
            assert list(executor.submit([tasks[3]])) == [tasks[3]]
            gate.open()
            owner.wait(3)
            assert owner.begun == ["x0", "x2", "x5"]

    def test_what_was_withdrawn_makes_room_in_a_full_queue(self) -> None:
        with self._executor(1, queue_limit=2) as (executor, owner):
            gate = self.jobs.gate()
            executor.submit([owner.task(0, self.jobs.waits(gate, None))])
            owner.wait_begun(1)
            tasks = [owner.task(n, self.jobs.returns(n)) for n in range(1, 5)]
            executor.submit(tasks[:2])
            tasks[0].withdrawn = True
            owner.taken_back.add("x1")
            assert list(executor.submit(tasks[2:])) == tasks[3:]
            gate.open()
            owner.wait(3)
            assert owner.begun == ["x0", "x2", "x3"]

    # -- interrupting --------------------------------------------------------------------------

    def test_a_job_that_is_interrupted_ends_soon_or_can_only_be_told(self) -> None:
        with self._executor(1) as (executor, owner):
            gate = self.jobs.gate()
            held = owner.task(1, self.jobs.waits(gate, "late"))
            executor.submit([held])
            owner.wait_begun(1)
            held.call_off()
            assert executor.interrupt(held) is executor.interrupts
            executor.interrupt(held)
            if not executor.interrupts:
                gate.open()
            (outcome,) = owner.wait(1)
            assert outcome.fate is (Fate.CANCELLED if executor.interrupts else Fate.SUCCEEDED)
            executor.submit([owner.task(2, self.jobs.returns(2))])
            assert owner.wait(2)[1].result == "2"
            gate.open()

    def test_what_does_not_run_is_not_interrupted(self) -> None:
        with self._executor(1) as (executor, owner):
            gate = self.jobs.gate()
            running, waiting, ended, unknown = (
                owner.task(n, self.jobs.waits(gate, n)) for n in range(4)
            )
            executor.submit([running, waiting])
            owner.wait_begun(1)
            assert not executor.interrupt(waiting)
            assert not executor.interrupt(unknown)
            gate.open()
            executor.submit([ended])
            assert [outcome.result for outcome in owner.wait(3)] == ["0", "1", "2"]
            self._rests(executor)
            assert not executor.interrupt(ended)
            assert not executor.interrupt(running)

    def test_a_job_that_was_interrupted_and_goes_on_reports_its_end(self) -> None:
        if not self.jobs.resists:
            return  # nothing can withstand it
        with self._executor(2) as (executor, owner):
            gate = self.jobs.gate()
            held = owner.task(1, self.jobs.withstands(gate, "late"))
            executor.submit([held])
            owner.wait_begun(1)
            assert executor.interrupt(held) is executor.interrupts
            executor.submit([owner.task(2, self.jobs.returns(2))])
            owner.wait(1)
            assert owner.outcomes[0].execution_id == "x2"
            executor.release(held)
            self._rests(executor)
            gate.open()
            assert owner.wait(2)[0].result == '"late"'
