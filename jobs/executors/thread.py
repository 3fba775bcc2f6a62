"""Jobs on a pool of real threads: the default executor.

Promises beside the contract: at most ``size`` threads, named ``kalends-job-N``; a thread is added
only while work waits and every thread is taken, and ends after ``idle_seconds`` without work, down
to one that is kept warm. Threads are real in a gevent-patched process too. A job runs in a copy of
the context variables that were set where the executor was made (which is where the host makes its
``Scheduler``). What runs cannot be stopped from outside: at ``stop`` it is told through its context
(by the owner) and, past the deadline, abandoned.

A task that is released runs on, on a thread that counts no longer: another one may be added in its
place. There are at most ``4 * size`` threads that do not count; what is released beyond that keeps
its place, with a warning. When such a job ends, its thread ends too, unless the pool has room for
it.

A worker takes the next task itself, without a dispatcher. ``submit`` wakes one sleeper; a worker
that leaves work behind wakes or adds the next one, so that a burst of short jobs does not set all
threads fighting for the interpreter.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextvars import Context, copy_context

from kalends.clock import Clock, SystemClock
from kalends.errors import ForkedError, NotInitialized
from kalends.futures import current_pid
from kalends.jobs.executors.base import Task
from kalends.jobs.executors.bounds import (
    LARGEST_QUEUE,
    QUEUE_LIMIT,
    check_bound,
    check_context,
    check_name,
    check_seconds,
)
from kalends.jobs.executors.queue import TaskQueue
from kalends.logs import get_log
from kalends.native import BriefLock, NativeThread, allocate_lock, settle_gevent

__all__ = ["PoolThread", "ThreadExecutor"]

_log = get_log()
_YEAR = 366 * 86_400.0
_RELEASED_LIMIT = 4
"""How many threads that do not count there may be, as a multiple of the pool's size."""


class PoolThread:
    """One thread of the pool, and the lock it sleeps on."""

    __slots__ = ("latch", "task", "thread")

    def __init__(self) -> None:
        self.latch = allocate_lock()
        self.latch.acquire()
        self.task: Task | None = None
        self.thread: NativeThread | None = None


class ThreadExecutor:
    """A pool of at most ``size`` threads. The contract: ``kalends.jobs.executors.base``."""

    def __init__(
        self,
        size: int = 20,
        *,
        queue_limit: int = QUEUE_LIMIT,
        idle_seconds: float | None = 30.0,
        name: str = "thread",
        context: Context | None = None,
    ) -> None:
        """``queue_limit``: how many tasks may wait for a thread. ``idle_seconds``: for how long a
        thread waits for work before it ends; None: for ever.

        Raises ``ValidationFailed`` for numbers out of range, and for what is no name or context.
        """
        self.name = check_name(name)
        self.coroutines = False
        self.isolated = False
        self.interrupts = False
        self.capacity = check_bound(size, "size", 1, 10_000)
        self.queue_limit = check_bound(queue_limit, "queue_limit", 0, LARGEST_QUEUE)
        self._idle_seconds = (
            None
            if idle_seconds is None
            else check_seconds(idle_seconds, "idle_seconds", 0.0, _YEAR)
        )
        self._given_context = check_context(context)
        self._context = copy_context() if context is None else context
        self._clock: Clock = SystemClock()
        self._pid = current_pid()
        self._lock = BriefLock()
        self._queue = TaskQueue(self.queue_limit)
        self._idle: list[PoolThread] = []
        self._workers: set[PoolThread] = set()
        self._released: set[PoolThread] = set()
        """Those whose task was released: they do not count."""
        self._numbers = itertools.count(1)
        self._started = False
        self._stopped = False

    @property
    def running(self) -> int:
        """How many threads have a task that was not released."""
        with self._lock:
            return self._busy()

    def _busy(self) -> int:
        return sum(worker.task is not None for worker in self._workers - self._released)

    @property
    def queued(self) -> int:
        """How many tasks wait for a thread."""
        return len(self._queue)

    @property
    def threads(self) -> int:
        """How many threads there are now."""
        return len(self._workers)

    # -- life ----------------------------------------------------------------------------------

    def fresh(self, name: str) -> ThreadExecutor:
        """Another pool like this one. Without a context of its own it takes the caller's."""
        return ThreadExecutor(
            self.capacity,
            queue_limit=self.queue_limit,
            idle_seconds=self._idle_seconds,
            name=name,
            context=self._given_context,
        )

    def start(self) -> None:
        """Start the warm thread, or what waits already."""
        self._check_process()
        with self._lock:
            if self._started or self._stopped:
                return
            self._started = True
        settle_gevent()
        self._rouse()

    def submit(self, tasks: Sequence[Task]) -> list[Task]:
        """Put the tasks in line; tasks submitted before ``start`` wait for it."""
        self._check_process()
        with self._lock:
            if self._stopped:
                raise NotInitialized(f"executor {self.name!r} has stopped")
            turned_away = self._queue.put(tasks, self.capacity - self._busy())
        self._rouse()
        return turned_away

    def release(self, task: Task) -> None:
        """Count the thread of this task no longer, and let another one take what waits."""
        with self._lock:
            found = [worker for worker in self._workers if worker.task is task]
            if not found:
                return
            if len(self._released) >= _RELEASED_LIMIT * self.capacity:
                _log.warning("job_threads_exhausted", executor=self.name, threads=self.threads)
                return
            self._released.update(found)
            if self._queue:
                self._add_hand()

    def interrupt(self, task: Task) -> bool:
        """A thread can only be told."""
        return False

    def stop(self, timeout: float) -> list[str]:
        """Begin nothing more and wait for the running jobs; the ids of those that did not end or
        begin.
        """
        if current_pid() != self._pid:
            return []
        with self._lock:
            self._stopped = True
            abandoned = [task.claim.id for task in self._queue.clear()]
            idle, self._idle = self._idle, []
            workers = list(self._workers)
        for worker in idle:
            worker.latch.release()
        deadline = self._clock.monotonic() + max(0.0, timeout)
        for worker in workers:
            if worker.thread is not None:
                worker.thread.join(max(0.0, deadline - self._clock.monotonic()))
        with self._lock:
            left = [worker.task for worker in self._workers if worker.task is not None]
        return abandoned + [task.claim.id for task in left]

    def _check_process(self) -> None:
        if current_pid() != self._pid:
            raise ForkedError("this executor belongs to the parent process; make one here")

    # -- workers -------------------------------------------------------------------------------

    def _rouse(self) -> None:
        with self._lock:
            self._add_hand()

    def _add_hand(self) -> None:
        """Wake a sleeper, or add a thread where none sleeps and room is left. Under the lock."""
        if self._idle:
            self._idle.pop().latch.release()
            return
        warm = bool(self._workers)
        if not self._started or self._stopped or self._full:
            return
        if warm and not self._queue:
            return
        worker = PoolThread()
        worker.thread = NativeThread(
            lambda: self._serve(worker), f"kalends-job-{next(self._numbers)}"
        )
        try:
            worker.thread.start()
        except RuntimeError:
            # The system gives no more threads: those that there are do the work, later.
            _log.exception("job_thread_refused", threads=len(self._workers))
            return
        self._workers.add(worker)

    @property
    def _full(self) -> bool:
        """Whether there are as many threads that count as there may be. Under the lock."""
        return len(self._workers) - len(self._released) >= self.capacity

    def _serve(self, worker: PoolThread) -> None:
        """The life of a worker. Only the end of the pool, or a long time without work, ends it."""
        try:
            while True:
                try:
                    self._work(worker)
                    return
                except BaseException as error:  # noqa: BLE001 - the worker lives on
                    # Not the job's, which its task catches: a bug here, or an exception thrown into
                    # the thread.
                    _log.exception("job_worker_failed", executor=self.name)
                    if worker.task is not None:
                        worker.task.give_up(error)
        finally:
            self._leave(worker)
            with self._lock:
                self._workers.discard(worker)
                self._released.discard(worker)
                worker.task = None

    def _work(self, worker: PoolThread) -> None:
        while True:
            with self._lock:
                worker.task = None
                if worker in self._released:
                    self._released.discard(worker)
                    if len(self._workers) > self.capacity + len(self._released):
                        return
                worker.task = self._queue.pop()
                if worker.task is not None:
                    if self._queue:
                        self._add_hand()
                elif self._stopped:
                    return
                else:
                    self._idle.append(worker)
            if worker.task is not None:
                self._perform(worker, worker.task)
            elif not self._sleep(worker):
                return

    # -- for pools whose threads keep something ------------------------------------------------

    def _perform(self, worker: PoolThread, task: Task) -> None:
        """See a task to its end."""
        task.run(self._context)

    def _leave(self, worker: PoolThread) -> None:
        """The thread ends."""

    def _sleep(self, worker: PoolThread) -> bool:
        """Wait to be woken; False where the worker has slept so long that it should end."""
        # The first to fall asleep is the last to be woken: it is kept warm.
        with self._lock:
            warm = bool(self._idle) and self._idle[0] is worker
            patience = -1.0 if warm or self._idle_seconds is None else self._idle_seconds
        while not worker.latch.acquire(timeout=patience):
            with self._lock:
                if worker in self._idle:
                    self._idle.remove(worker)
                    self._workers.discard(worker)
                    return False
            # Somebody has just taken it from the list to wake it: the latch comes.
            patience = -1.0
        return True
