"""What is done to executions while they run: called off by somebody, or followed as they tell.

A cancellation is durable before anybody is told of it: the ledger marks the execution, and then the
runner calls it off, here or, once it has found the mark, in the process that has it. What jobs tell
of themselves is taken from the runner now and then and written down; a job that tells nothing costs
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kalends.futures import Future
from kalends.jobs.runner import Runner
from kalends.messages import CancelExecution
from kalends.model import Execution, Reason
from kalends.storage.cancelling import CancelAsked, cancel_execution
from kalends.storage.engine import Storage
from kalends.storage.executions import ExecutionStore
from kalends.storage.journal import Stamp
from kalends.storage.outcomes import OutcomeStore
from kalends.storage.rows import latest_told
from kalends.work import Outcome

__all__ = ["Control"]


class Control:
    """For the execution tracker. ``stamp`` makes what a line of the journal begins with."""

    def __init__(
        self,
        storage: Storage,
        executions: ExecutionStore,
        outcomes: OutcomeStore,
        stamp: Callable[[int, str | None, str | None], Stamp],
        runner: Runner,
    ) -> None:
        self._storage = storage
        self._executions = executions
        self._outcomes = outcomes
        self._stamp = stamp
        self._runner = runner

    # -- calling off ---------------------------------------------------------------------------

    def cancel(
        self,
        message: CancelExecution,
        on_ended: Callable[[Execution, str | None, str | None], None],
    ) -> Future[Execution]:
        """Mark it, call off what is here, and answer with what has become of it by then.

        ``on_ended`` is called where this ends it in the ledger alone, once that is durable, with
        the names of its event and job.
        """
        now = self._runner.clock.now_us()
        stamp = self._stamp(now, message.author, message.note)
        answer: Future[Execution] = Future()
        asked: list[CancelAsked] = []

        def unit(db: Any) -> Execution:
            asked[:] = [cancel_execution(db, message.execution_id, stamp)]
            return self._executions.get(db, message.execution_id)

        def committed(done: Future[Execution]) -> None:
            # On the writer's thread: whatever was claimed before is with the runner.
            unbegun = None
            if done.value is not None and asked[0].held_by is not None:
                unbegun = self._call_off(message.execution_id)
            elif done.value is not None and asked[0].changed:
                on_ended(done.value, asked[0].event_name, asked[0].job)
            if unbegun is None:
                settle(done)
                return
            second = self._storage.write(lambda db: self._end(db, unbegun, now))
            second.add_done_callback(lambda ended: settle(done if ended.error else ended))

        def settle(done: Future[Execution]) -> None:
            answer.resolve(done.value, done.error)

        self._storage.write(unit).add_done_callback(committed)
        return answer

    def _call_off(self, execution_id: str) -> Outcome | None:
        """Tell the runner; the outcome of what had not begun here, if that it was."""
        # Where it is held elsewhere, there is nothing here.
        self._runner.cancel([execution_id], Reason.REQUESTED)
        outcome = self._runner.outbox.outcome_of(execution_id)
        return outcome if outcome is not None and outcome.started_us is None else None

    def _end(self, db: Any, unbegun: Outcome, now: int) -> Execution:
        """Record the outcome now, for the answer; the tracker's own record changes nothing more."""
        self._outcomes.record(db, [unbegun], now=now)
        return self._executions.get(db, unbegun.execution_id)

    # -- following -----------------------------------------------------------------------------

    def get(self, execution_id: str) -> Future[Execution]:
        """An execution, with what its job has told up to now where it runs here."""
        found = self._storage.read(lambda db: self._executions.get(db, execution_id))
        return found.then(self._as_told)

    def _as_told(self, execution: Execution) -> Execution:
        if execution.ended_at is not None or execution.node is None:
            return execution
        told = self._runner.told_by(execution.id, execution.attempts[-1].number)
        return execution if told is None else latest_told(execution, told)

    def write_news(self) -> Future[int] | None:
        """Write down what jobs that run have told since the last time; None: nothing."""
        news = self._runner.news()
        if not news:
            return None
        return self._storage.write(lambda db: self._outcomes.tell(db, news))
