"""What every executor promises, and the task that is handed to one.

The contract, held by ``kalends.testing.executor_contract`` for every kind:

- ``submit`` may be called from any thread and never blocks; tasks begin in the order of their
  claims' priority, higher first, and those of one priority as they were submitted.
- Every task that was submitted ends in exactly one call of its owner, from any thread: ``end`` with
  the outcome, or ``refuse`` where it could not begin.
- A task whose ``begin`` answers False was taken back: it must not run and is not reported.
- Whatever a job raises, ``SystemExit``, ``KeyboardInterrupt`` and ``GreenletExit`` included, is its
  outcome and nobody else's trouble: the executor goes on. Nothing the job made is kept alive once
  it has ended.
- ``release`` gives up the place of a task that runs and has been written off by its owner: another
  one may begin although it goes on. Of a task that does not run here it changes nothing.
- ``stop`` waits for what runs, begins nothing more, and returns the ids of the executions that did
  not end in time. What had not begun never will, and is not reported; what still runs reports when
  it ends, and its owner decides whether that still counts. It may be called twice, or before
  ``start``.
- After a fork, the child's copy has no workers: ``submit`` raises ``ForkedError`` there and
  ``stop`` returns at once.

An executor of jobs in this process calls ``task.run``; others call ``begin``, run the job their own
way, and then ``succeed`` or ``fail``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from types import CoroutineType
from typing import Any, Protocol

import msgspec

from kalends.clock import US, Clock
from kalends.errors import KalendsError
from kalends.jobs.codec import decode_arguments, encode_result
from kalends.jobs.context import ExecutionContext, enter
from kalends.jobs.failures import describe_failure, kinds_of
from kalends.jobs.registry import Job, Registry
from kalends.jobs.requests import ask_of, word_of
from kalends.model import Failure, Fate
from kalends.retrying import Ask
from kalends.work import Claim, Outcome

__all__ = ["Begun", "Executor", "Task", "TaskOwner"]


class Executor(Protocol):
    """Where jobs of one kind run. The contract is the module's docstring."""

    @property
    def name(self) -> str:
        """The kind, as jobs name it: ``thread``."""

    @property
    def capacity(self) -> int:
        """How many tasks can run at once."""

    @property
    def running(self) -> int:
        """How many tasks run now."""

    @property
    def queued(self) -> int:
        """How many tasks wait for a place, those that were taken back included."""

    def start(self) -> None:
        """Begin to run what is submitted. A second call changes nothing."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Put the tasks in line, in this order. Raises ``NotInitialized`` after ``stop``."""

    def release(self, task: Task) -> None:
        """Count a task that runs no longer: its place is free, though it has not ended."""

    def stop(self, timeout: float) -> list[str]:
        """End within ``timeout`` seconds; the ids of executions that have not ended."""


class TaskOwner(Protocol):
    """Who submitted a task: says whether it may begin and hears how it ended. Called from any
    thread.
    """

    clock: Clock
    registry: Registry
    result_limit: int
    failure_limit: int

    def begin(self, task: Task) -> bool:
        """The job is about to be called: True where it may; False where it was taken back."""

    def end(self, task: Task, outcome: Outcome) -> None:
        """The task, which had begun, has ended. A second call for one task changes nothing."""

    def refuse(self, task: Task, error: KalendsError) -> None:
        """The task has not begun and cannot: its job or its arguments are not to be had."""


class Begun(msgspec.Struct, frozen=True):
    """An attempt that has begun and not ended."""

    execution_id: str
    attempt: int
    started_us: int


class Task:
    """One attempt to run: the claim, its job (None: the worker imports it), and who to tell."""

    __slots__ = (
        "called_off", "cancelled", "claim", "deadline_us", "job", "key", "owner", "reported",
        "started_us", "state",
    )  # fmt: skip

    def __init__(self, claim: Claim, job: Job | None, owner: TaskOwner) -> None:
        self.claim = claim
        self.key = (claim.id, claim.attempt)
        self.job = job
        self.owner = owner
        self.cancelled = False
        """Set by the owner; the job sees it through its context."""
        self.called_off = False
        """Set by the owner: what it does is not wanted any more, so raising now is no failure."""
        self.deadline_us: int | None = None
        """Set by the owner when the job begins, where it has a time-out; wall time, for the job."""
        self.started_us = 0
        self.state = 0
        """The owner's; executors do not look at it."""
        self.reported = False
        """The owner's."""

    def begun(self) -> Begun:
        """What there is to tell of it while it runs."""
        return Begun(self.claim.id, self.claim.attempt, self.started_us)

    def call_off(self) -> None:
        """Tell the job to stop, because what it does is not wanted any more."""
        self.cancelled = self.called_off = True

    def unbegun_outcome(self, now: int) -> Outcome:
        """Its outcome where it was called off before it began."""
        return Outcome(
            execution_id=self.claim.id,
            event_id=self.claim.event_id,
            attempt=self.claim.attempt,
            fate=Fate.CANCELLED,
            started_us=None,
            ended_us=now,
        )

    def overdue_outcome(self, now: int) -> Outcome:
        """Its outcome where it takes longer than it may."""
        assert self.claim.timeout_us is not None, "what has a deadline has a time-out"
        seconds = self.claim.timeout_us / US
        return Outcome(
            execution_id=self.claim.id,
            event_id=self.claim.event_id,
            attempt=self.claim.attempt,
            fate=Fate.TIMED_OUT,
            started_us=self.started_us,
            ended_us=max(self.started_us, now),
            error=Failure(type="TimeoutError", message=f"took longer than {seconds:g} seconds"),
            kinds=kinds_of(TimeoutError),
            still_running=True,
        )

    # -- for executors that run jobs in this process -------------------------------------------

    def run(self, host: Context) -> None:
        """Do it all, on this thread, in a copy of the ``host`` context. Raises nothing of the
        job's.
        """
        host.copy().run(self._run)

    def _run(self) -> None:
        enter(ExecutionContext(self.claim, self), self.claim)
        try:
            function, args, kwargs = self.prepare()
        except KalendsError as error:
            self.owner.refuse(self, error)
            return
        if not self.begin():
            return
        try:
            value = function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - the barrier: a job's exception is its outcome
            # args and kwargs would live on in this frame, which the traceback holds.
            del function, args, kwargs
            self.fail(error)
            return
        self.succeed(value)

    # -- the steps -----------------------------------------------------------------------------

    def prepare(self) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
        """The function, args and kwargs. Raises ``JobNotFound`` or ``ValidationFailed``: then
        ``refuse``.
        """
        job = self.job or self.owner.registry.get(self.claim.job)
        args, kwargs = job.parameters.typed(*decode_arguments(self.claim.arguments))
        return job.function, args, kwargs

    def begin(self) -> bool:
        """Ask for the right to call the job, immediately before doing so."""
        return self.owner.begin(self)

    def succeed(self, value: object) -> None:
        """The job returned ``value``."""
        ended = self._ended_us()
        if type(value) is CoroutineType:
            # A wrapper hid a coroutine function from the registry: its body has not run.
            value.close()
            self._end(ended, Fate.FAILED, error=_NEVER_RAN, kinds=kinds_of(TypeError))
            return
        result, note = encode_result(value, self.owner.result_limit)
        self._end(ended, Fate.SUCCEEDED, result=result, note=note)

    def fail(self, error: BaseException) -> None:
        """The job raised ``error``. Where it was called off before, that is how it stopped."""
        ended = self._ended_us()
        failure = describe_failure(error, self.owner.failure_limit)
        if self.called_off:
            self._end(ended, Fate.CANCELLED, error=failure)
            return
        word, ask = word_of(error), ask_of(error)
        if word is not None:
            failure = msgspec.structs.replace(failure, type=word)
        unharmed = word == "Cancel" or (ask is not None and not ask.failed)
        fate = Fate.CANCELLED if unharmed else Fate.FAILED
        self._end(ended, fate, error=failure, kinds=kinds_of(error), ask=ask)

    def give_up(self, error: BaseException) -> None:
        """Something other than the job raised: a last attempt to give the task its end."""
        if self.started_us:
            self.fail(error)
            return
        reason = describe_failure(error, self.owner.failure_limit)
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
        claim = self.claim
        outcome = Outcome(
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
        )
        self.owner.end(self, outcome)


_NEVER_RAN = Failure(
    type="TypeError",
    message="the job returned a coroutine, which nobody awaits here: its body has not run",
)
