"""Jobs in processes of their own: isolated, and stopped by force where that is needed.

Promises beside the contract:

- At most ``size`` worker processes, each kept by a thread of this process that gives it one job
  after the other. A worker is started when a job wants one, stays warm, and ends after
  ``idle_seconds`` without work, down to one that is kept; after ``max_jobs`` jobs it is replaced.
  Starting one takes as long as importing the application: the job waits for it, nobody else.
- Whatever a job does to its process is its own end and nobody else's: ``os._exit``, a crash of the
  interpreter, the out-of-memory killer. It has failed then with ``WorkerDied``, and the message
  says "killed by SIGSEGV" or "exited with code 3".
- ``interrupt`` kills the worker, and with it what its jobs have started.
- A worker may take ``memory_limit`` bytes of address space (RLIMIT_AS); what wants more gets a
  ``MemoryError``. Where the platform has no such limit, asking for one is refused.
- No fork of this process, and nothing pickled that a database or a job made:
  ``kalends.jobs.executors.process_orders`` says what crosses instead, and
  ``kalends.jobs.references`` which functions can be jobs here.
- Workers do not outlive this process, however it ends.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from typing import Literal

from kalends.errors import ValidationFailed
from kalends.futures import current_pid
from kalends.jobs.answers import Answer, Raised
from kalends.jobs.executors.base import Task
from kalends.jobs.executors.bounds import QUEUE_LIMIT, check_bound
from kalends.jobs.executors.process_child import Child, WorkerDied
from kalends.jobs.executors.process_orders import Order, longest_message
from kalends.jobs.executors.thread import PoolThread, ThreadExecutor
from kalends.jobs.failures import kinds_of
from kalends.jobs.references import Reference, reference_of
from kalends.logs import get_log
from kalends.model import Failure

__all__ = ["ProcessExecutor", "StartMethod"]

StartMethod = Literal["spawn", "forkserver"]

_log = get_log()
_START_WITHIN = 60.0
"""Seconds that a worker may take to import what it needs."""
_SMALLEST_LIMIT = 64 * 2**20
"""An interpreter with Kalends takes more than this."""


class ProcessExecutor(ThreadExecutor):
    """A pool of at most ``size`` processes. The contract: ``kalends.jobs.executors.base``."""

    def __init__(
        self,
        size: int = 2,
        *,
        start_method: StartMethod = "spawn",
        max_jobs: int | None = None,
        memory_limit: int | None = None,
        queue_limit: int = QUEUE_LIMIT,
        idle_seconds: float | None = 300.0,
        name: str = "process",
    ) -> None:
        """``memory_limit`` is in bytes. ``idle_seconds``: for how long a worker waits for work
        before it ends; None: for ever.

        Raises ``ValidationFailed`` for numbers out of range, and for what the platform does not
        have.
        """
        super().__init__(size, queue_limit=queue_limit, idle_seconds=idle_seconds, name=name)
        _check_method(start_method)
        self.isolated = True
        self.interrupts = True
        self.start_method = start_method
        self.max_jobs = None if max_jobs is None else check_bound(max_jobs, "max_jobs", 1, 10**9)
        self.memory_limit = None if memory_limit is None else _check_limit(memory_limit)
        self._multiprocessing = (
            multiprocessing.get_context("spawn")
            if start_method == "spawn"
            else multiprocessing.get_context("forkserver")
        )
        self._children: dict[PoolThread, Child] = {}
        self._begun: dict[Task, Child] = {}

    def fresh(self, name: str) -> ProcessExecutor:
        """Another pool like this one."""
        return ProcessExecutor(
            self.capacity,
            start_method=self.start_method,
            max_jobs=self.max_jobs,
            memory_limit=self.memory_limit,
            queue_limit=self.queue_limit,
            idle_seconds=self._idle_seconds,
            name=name,
        )

    @property
    def pids(self) -> Sequence[int]:
        """The numbers of the worker processes that there are now."""
        with self._lock:
            return sorted(child.pid for child in self._children.values() if child.alive)

    def interrupt(self, task: Task) -> bool:
        """Kill the process in which the job runs."""
        with self._lock:
            child = self._begun.get(task)
            if child is not None:
                # Under the lock: it is given nothing else before it counts as killed.
                child.kill()
            return child is not None

    def stop(self, timeout: float) -> list[str]:
        """Begin nothing more and wait for the running jobs; the ids of those that did not end or
        begin.
        """
        if current_pid() == self._pid:
            with self._lock:
                self._stopped = True
                for keeper, child in self._children.items():
                    if keeper.task is None and child.number == 0:
                        child.kill()  # it gets ready, for nothing
        return super().stop(timeout)

    # -- the threads that keep the workers -----------------------------------------------------

    def _perform(self, keeper: PoolThread, task: Task) -> None:
        if task.prepare() is None:
            return
        assert task.job is not None, "it has been prepared"
        try:
            reference = reference_of(task.job)
        except ValidationFailed as error:
            task.owner.refuse(task, error)
            return
        try:
            child = self._worker_of(keeper)
        except WorkerDied as error:
            if task.begin():
                task.answer(_last_answer(error))
            return
        answer = self._run(child, task, reference)
        if answer is not None:
            task.answer(answer)
        if self._is_spent(child) and not self._stopped:
            self._renew(keeper)

    def _run(self, child: Child, task: Task, reference: Reference) -> Answer | None:
        """Have the job run; its answer, or None where it was taken back."""
        child.number += 1
        number = child.number
        with self._lock:
            self._begun[task] = child
        try:
            task.herald = lambda: child.tell(number)
            if not task.begin():
                return None
            if task.cancelled:
                child.tell(number)
            child.send(
                Order(
                    number=number,
                    reference=reference,
                    claim=task.claim,
                    deadline_us=task.deadline_us,
                    remaining=task.remaining(),
                    keeps=task.owner.keeps,
                    result_limit=task.owner.result_limit,
                    failure_limit=task.owner.failure_limit,
                )
            )
            owner = task.owner
            longest = longest_message(owner.result_limit, owner.failure_limit, owner.keeps)
            return child.hear(longest, lambda news: task.logbook().absorb(news))
        except WorkerDied as error:
            return _last_answer(error)
        finally:
            task.herald = None
            with self._lock:
                del self._begun[task]

    def _renew(self, keeper: PoolThread) -> None:
        """Put a new worker in the place of one that is gone or worn out."""
        with self._lock:
            keeper.task = None  # that has ended, and has its place no longer
        try:
            self._worker_of(keeper)
        except WorkerDied as error:
            _log.warning("job_process_refused", executor=self.name, error=str(error))

    def _leave(self, keeper: PoolThread) -> None:
        child = self._children.get(keeper)
        if child is not None:
            self._part(keeper, child)

    # -- workers -------------------------------------------------------------------------------

    def _is_spent(self, child: Child) -> bool:
        worn = self.max_jobs is not None and child.number >= self.max_jobs
        return worn or child.doomed or not child.alive

    def _worker_of(self, keeper: PoolThread) -> Child:
        """The worker of this thread: the one it has, or a new one. Raises ``WorkerDied``."""
        child = self._children.get(keeper)
        if child is not None and self._is_spent(child):
            self._part(keeper, child)
            child = None
        if child is None:
            child = self._start_worker(keeper)
        return child

    def _start_worker(self, keeper: PoolThread) -> Child:
        try:
            child = Child(self._multiprocessing, self.memory_limit)
        except (OSError, RuntimeError) as error:
            raise WorkerDied(
                f"a worker process could not be started: {type(error).__name__}: {error}"
            ) from error
        with self._lock:
            self._children[keeper] = child
        try:
            child.greet(_START_WITHIN)
        except WorkerDied as error:
            child.kill()
            self._part(keeper, child)
            raise WorkerDied(f"{error}; no job had begun in it") from None
        return child

    def _part(self, keeper: PoolThread, child: Child) -> None:
        child.retire()
        with self._lock:
            del self._children[keeper]


def _last_answer(error: WorkerDied) -> Answer:
    """The answer of a job whose worker cannot give one."""
    return Raised(Failure(type="WorkerDied", message=str(error)), kinds_of(error))


def _check_method(start_method: object) -> None:
    if start_method == "fork":
        raise ValidationFailed(
            "start_method cannot be 'fork': it copies locks that threads of this process hold",
            path="start_method",
        )
    offered = [name for name in ("spawn", "forkserver") if name in _METHODS]
    if start_method not in offered:
        raise ValidationFailed(
            f"start_method must be one of {', '.join(map(repr, offered))}", path="start_method"
        )


_METHODS = multiprocessing.get_all_start_methods()


def _check_limit(memory_limit: object) -> int:
    if sys.platform in ("win32", "darwin"):
        raise ValidationFailed(
            f"memory_limit is not to be had on {sys.platform}: it has no limit of address space",
            path="memory_limit",
        )
    return check_bound(memory_limit, "memory_limit", _SMALLEST_LIMIT, 10**15)
