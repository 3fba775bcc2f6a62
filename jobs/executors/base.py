"""What every executor promises, and the task that is handed to one.

The contract, held by ``kalends.testing.executor_contract`` for every kind:

- ``submit`` may be called from any thread and never blocks; tasks begin in the order of their
  claims' priority, higher first, and those of one priority as they were submitted.
- At most ``capacity`` tasks run at once, and at most ``queue_limit`` wait for a place. ``submit``
  returns the tasks for which there is no room: those of the lowest priority, of these the newest,
  also where they were submitted earlier. They do not begin and are not reported.
- Every other task that was submitted ends in exactly one call of its owner, from any thread:
  ``end`` with the outcome, or ``refuse`` where it could not begin.
- A task whose ``begin`` answers False was taken back: it must not run and is not reported. One that
  is ``withdrawn`` already need not be asked about.
- Whatever a job raises, ``SystemExit``, ``KeyboardInterrupt`` and ``GreenletExit`` included, is its
  outcome and nobody else's trouble: the executor goes on. Nothing the job made is kept alive once
  it has ended.
- ``release`` gives up the place of a task that runs and has been written off by its owner: another
  one may begin although it goes on. Of a task that does not run here it changes nothing.
- ``interrupt`` stops the job of a task that runs, where this kind can. True: it is being stopped,
  and its end will be reported as any other's, unless its own code holds that up. False: it can only
  be told, through its context, or it does not run here (any more). It may be called from any
  thread, and again, and never blocks or raises.
- ``stop`` waits for what runs, begins nothing more, and returns the ids of the executions that did
  not end in time. What had not begun never will, and is not reported; what still runs reports when
  it ends, and its owner decides whether that still counts. It may be called twice, or before
  ``start``.
- ``fresh(name)`` makes another one like it, not started: a scheduler never starts those that it was
  given, so that it can be started again, and those may be given to several.
- Where ``coroutines`` is true its jobs are coroutine functions, and it awaits what they return;
  where it is false they are plain functions. Whoever submits sees to that.
- Where ``isolated`` is true its jobs are found by import (``kalends.jobs.references``); it refuses
  the others.
- After a fork, the child's copy has no workers: ``submit`` raises ``ForkedError`` there and
  ``stop`` returns at once.

An executor of jobs in this process calls ``task.run``; others call ``prepare``, ``begin``, run the
job their own way, and then ``succeed``, ``fail`` or, with what was made of either elsewhere,
``answer``. Where the job does not see the task, ``herald`` carries to it that it is told to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Protocol

from kalends.clock import US, Clock
from kalends.errors import KalendsError
from kalends.jobs.answers import NOTHING, Answer, Returned, answer_of, answer_of_error
from kalends.jobs.codec import decode_arguments
from kalends.jobs.context import ExecutionContext, enter
from kalends.jobs.failures import describe_failure, kinds_of
from kalends.jobs.logbook import Keeps, Logbook
from kalends.jobs.registry import Job, Registry
from kalends.model import Failure, Fate, Reason
from kalends.native import allocate_lock
from kalends.retrying import Ask
from kalends.work import Begun, Claim, Outcome, Told

__all__ = ["Executor", "Task", "TaskOwner"]


class Executor(Protocol):
    """Where jobs of one kind run. The contract is the module's docstring."""

    @property
    def name(self) -> str:
        """The kind, as jobs name it: ``thread``."""

    @property
    def coroutines(self) -> bool:
        """Whether its jobs are coroutine functions."""

    @property
    def isolated(self) -> bool:
        """Whether its jobs run in other processes, which have to find them by name."""

    @property
    def interrupts(self) -> bool:
        """Whether it can stop a job, and not only tell it."""

    @property
    def capacity(self) -> int:
        """How many tasks can run at once."""

    @property
    def queue_limit(self) -> int:
        """How many tasks can wait for a place."""

    @property
    def running(self) -> int:
        """How many tasks run now, those that were released not counted."""

    @property
    def queued(self) -> int:
        """How many tasks wait for a place, those that were taken back included."""

    def fresh(self, name: str) -> Executor:
        """Another one like it, of this name, not started."""

    def start(self) -> None:
        """Begin to run what is submitted. A second call changes nothing."""

    def submit(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Put the tasks in line, in this order; those for which there is no room.

        Raises ``NotInitialized`` after ``stop``.
        """

    def release(self, task: Task) -> None:
        """Count a task that runs no longer: its place is free, though it has not ended."""

    def interrupt(self, task: Task) -> bool:
        """Stop the job of a task that runs; True where it is being stopped."""

    def stop(self, timeout: float) -> list[str]:
        """End within ``timeout`` seconds; the ids of executions that have not ended."""


class TaskOwner(Protocol):
    """Who submitted a task: says whether it may begin and hears how it ended; on any thread."""

    clock: Clock
    registry: Registry
    result_limit: int
    failure_limit: int
    keeps: Keeps

    def importing(self, task: Task) -> None:
        """The job is about to be imported: its time-out begins with that."""

    def begin(self, task: Task) -> bool:
        """The job is about to be called: True where it may; False where it was taken back."""

    def end(self, task: Task, outcome: Outcome) -> None:
        """The task, which had begun, has ended. A second call for one task changes nothing."""

    def refuse(self, task: Task, error: KalendsError) -> None:
        """The task has not begun and cannot: its job or its arguments are not to be had."""

    def redirect(self, task: Task) -> None:
        """The task has not begun; its job, which is known only now, is for another executor."""


_MAKING = allocate_lock()


class Task:
    """One attempt to run: the claim, its job (None: the worker imports it), and who to tell."""

    __slots__ = (
        "_book", "_ended", "called_off", "calling", "cancelled", "claim", "deadline_us", "executor",
        "herald", "job", "key", "owner", "reported", "started_us", "state", "stops_at", "withdrawn",
    )  # fmt: skip

    def __init__(self, claim: Claim, job: Job | None, owner: TaskOwner) -> None:
        self.claim = claim
        self.key = (claim.id, claim.attempt)
        self.job = job
        self.owner = owner
        self.executor: Executor | None = None
        """Set by the owner: where it was submitted."""
        self.calling = False
        """True while the job's own code runs: what is thrown at it ends nothing else."""
        self.withdrawn = False
        """Set by the owner: it will not be let begin."""
        self.cancelled = False
        """Set by the owner; the job sees it through its context."""
        self.herald: Callable[[], None] | None = None
        """Set by an executor whose jobs do not see this object: carries the news that it is
        cancelled. From any thread, without blocking or raising.
        """
        self.called_off = False
        """Set by the owner: what it does is not wanted any more, so raising now is no failure."""
        self.deadline_us: int | None = None
        """Set by the owner when the job begins, where it has a time-out; wall time, for the job."""
        self.stops_at: float | None = None
        """The same, in seconds of the owner's monotonic time."""
        self._book: Logbook | None = None
        self.started_us = 0
        self.state = 0
        """The owner's; executors do not look at it."""
        self.reported = False
        """The owner's."""
        self._ended = False
        """True once its end was told, or is not wanted."""

    def logbook(self) -> Logbook:
        """What its job has told; it is made when that begins to tell."""
        if self._book is None:
            with _MAKING:  # a job may have several threads
                if self._book is None:
                    self._book = Logbook(self.owner.clock, self.owner.keeps)
        return self._book

    def told(self) -> Told | None:
        """All that its job has told; None: nothing."""
        return None if self._book is None else self._book.told

    def news(self) -> Told | None:
        """The same, where it is more than when this was last called."""
        return None if self._book is None else self._book.news()

    def remaining(self) -> float | None:
        """Seconds that its job has left; None: any number."""
        if self.stops_at is None:
            return None
        return max(0.0, self.stops_at - self.owner.clock.monotonic())

    @property
    def timed_out(self) -> bool:
        """Whether it has had all the time it has."""
        return self.remaining() == 0.0

    def begun(self) -> Begun:
        """What there is to tell of it while it runs."""
        return Begun(self.claim.id, self.claim.attempt, self.started_us)

    def call_off(self) -> None:
        """Tell the job to stop, because what it does is not wanted any more."""
        self.called_off = True
        self.tell_to_stop()

    def tell_to_stop(self) -> None:
        """Have the job's context say so; what it does may still be wanted."""
        self.cancelled = True
        herald = self.herald
        if herald is not None:
            herald()

    def unbegun_outcome(
        self, now: int, fate: Fate = Fate.CANCELLED, reason: Reason | None = None
    ) -> Outcome:
        """Its outcome where it ends before it began: it was called off, or found no room."""
        return Outcome(
            claim=self.claim,
            execution_id=self.claim.id,
            event_id=self.claim.event_id,
            attempt=self.claim.attempt,
            fate=fate,
            reason=reason,
            started_us=None,
            ended_us=now,
        )

    def overdue_outcome(self, now: int) -> Outcome:
        """Its outcome where it takes longer than it may."""
        assert self.claim.timeout_us is not None, "what has a deadline has a time-out"
        seconds = self.claim.timeout_us / US
        return Outcome(
            claim=self.claim,
            execution_id=self.claim.id,
            event_id=self.claim.event_id,
            attempt=self.claim.attempt,
            fate=Fate.TIMED_OUT,
            started_us=self.started_us,
            ended_us=max(self.started_us, now),
            error=Failure(type="TimeoutError", message=f"took longer than {seconds:g} seconds"),
            kinds=kinds_of(TimeoutError),
            still_running=True,
            told=self.told(),
        )

    # -- for executors that run jobs in this process -------------------------------------------

    def run(self, host: Context) -> None:
        """Do it all, on this thread, in a copy of the ``host`` context. Raises nothing of the
        job's.
        """
        host.copy().run(self._run)

    def _run(self) -> None:
        self.enter()
        call = self.prepare()
        if call is None or not self.begin():
            return
        function, args, kwargs = call
        try:
            self.calling = True
            value = function(*args, **kwargs)
            self.calling = False
        except BaseException as error:  # noqa: BLE001 - the barrier: a job's exception is its outcome
            self.calling = False
            # args and kwargs would live on in this frame, which the traceback holds.
            del call, function, args, kwargs
            self.fail(error)
            return
        self.succeed(value)

    # -- the steps -----------------------------------------------------------------------------

    def enter(self) -> None:
        """Make this execution the one that ``current()`` answers with, in this context."""
        enter(ExecutionContext(self.claim, self), self.claim)

    def prepare(self) -> tuple[Callable[..., Any], list[Any], dict[str, Any]] | None:
        """The function, args and kwargs. None: the owner has been told why it cannot begin here."""
        try:
            if self.job is None:
                self.owner.importing(self)
                self.job = self.owner.registry.get(self.claim.job)
                if self.executor is not None and self.job.coroutine != self.executor.coroutines:
                    self.owner.redirect(self)
                    return None
            args, kwargs = self.job.parameters.typed(*decode_arguments(self.claim.arguments))
        except KalendsError as error:
            self.owner.refuse(self, error)
            return None
        except BaseException as error:  # noqa: BLE001 - what is converted has code of its own
            self.give_up(error)
            return None
        return self.job.function, args, kwargs

    def begin(self) -> bool:
        """Ask for the right to call the job, immediately before doing so."""
        return self.owner.begin(self)

    def drop(self) -> None:
        """Nobody wants to hear any more how it ends."""
        self._ended = True

    def succeed(self, value: object) -> None:
        """The job returned ``value``."""
        if self._ended:  # what is not told need not be put into words
            return
        ended = self._ended_us()
        owner, answer = self.owner, NOTHING
        if value is not None:
            answer = answer_of(value, owner.result_limit, owner.keeps.redactor)
        self._answered(answer, ended)

    def fail(self, error: BaseException) -> None:
        """The job raised ``error``. Where it was called off before, that is how it stopped."""
        if self._ended:
            return
        ended = self._ended_us()
        answer = answer_of_error(error, self.owner.failure_limit, self.owner.keeps.redactor)
        self._answered(answer, ended)

    def answer(self, answer: Answer) -> None:
        """The job, elsewhere, has answered."""
        self._answered(answer, self._ended_us())

    def _answered(self, answer: Answer, ended: int) -> None:
        if isinstance(answer, Returned):
            self._end(ended, Fate.SUCCEEDED, result=answer.result, note=answer.note)
            return
        failure, ask = answer.failure, answer.ask
        if self.called_off:
            self._end(ended, Fate.CANCELLED, error=failure)
            return
        unharmed = answer.word == "Cancel" or (ask is not None and not ask.failed)
        fate = Fate.CANCELLED if unharmed else Fate.FAILED
        self._end(ended, fate, error=failure, kinds=answer.kinds, ask=ask)

    def give_up(self, error: BaseException) -> None:
        """Something other than the job raised: a last attempt to give the task its end."""
        if self.started_us:
            self.fail(error)
            return
        reason = describe_failure(error, self.owner.failure_limit, self.owner.keeps.redactor)
        self.owner.refuse(
            self, KalendsError(f"the job could not be begun: {reason.type}: {reason.message}")
        )

    def _ended_us(self) -> int:
        # Wall clocks jump back; a duration is never negative.
        return max(self.started_us, self.owner.clock.now_us())

    def _end(
        self,
        ended: int,
        fate: Fate,
        *,
        result: str | None = None,
        note: str | None = None,
        error: Failure | None = None,
        kinds: tuple[str, ...] = (),
        ask: Ask | None = None,
    ) -> None:
        if self._ended:
            return
        self._ended = True
        claim = self.claim
        outcome = Outcome(
            claim=claim,
            execution_id=claim.id,
            event_id=claim.event_id,
            attempt=claim.attempt,
            fate=fate,
            started_us=self.started_us,
            ended_us=ended,
            result=result,
            result_note=note,
            error=error,
            kinds=kinds,
            ask=ask,
            told=self.told(),
        )
        self.owner.end(self, outcome)
