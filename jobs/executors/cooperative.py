"""What executors have in common whose jobs take turns on one thread: greenlets, and coroutines.

Promises beside the contract: no thread is started before the first task comes; a job that does not
let the others have their turn is noticed, and its stack logged (``hub_stalled``); as soon as a task
that was written off is on a lane that stands still, the executor moves on: what comes begins on
another lane. There are at most ``LANES`` of them, those that stand still included; these go on with
what they have whenever they can.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextvars import Context, copy_context
from functools import partial

from kalends.errors import AskTimeout, ForkedError, NotInitialized
from kalends.futures import Future, current_pid
from kalends.jobs.executors.base import Task
from kalends.jobs.executors.bounds import (
    LARGEST_QUEUE,
    check_bound,
    check_context,
    check_name,
    check_seconds,
)
from kalends.jobs.executors.lanes import Lane, LoopClosed, lose
from kalends.jobs.executors.queue import TaskQueue
from kalends.logs import get_log
from kalends.native import NativeThread, allocate_lock

__all__ = ["LANES", "CooperativeExecutor"]

_log = get_log()
LANES = 4
"""How many lanes an executor has at most."""


class CooperativeExecutor(ABC):
    """At most ``size`` tasks at once on one lane. The contract: ``kalends.jobs.executors.base``."""

    coroutines: bool
    interrupts: bool
    isolated = False

    def __init__(
        self,
        size: int,
        *,
        queue_limit: int,
        stall_after: float,
        name: str,
        context: Context | None,
    ) -> None:
        self.name = check_name(name)
        self.capacity = check_bound(size, "size", 1, 1_000_000)
        self.queue_limit = check_bound(queue_limit, "queue_limit", 0, LARGEST_QUEUE)
        self._stall_after = check_seconds(stall_after, "stall_after", 0.01, 3600.0)
        self._given_context = check_context(context)
        self._context = copy_context() if context is None else context
        self._pid = current_pid()
        self._lock = allocate_lock()
        self._queue = TaskQueue(self.queue_limit)
        self._tasks: dict[Task, Lane] = {}
        self._released: set[Task] = set()
        self._lane: Lane | None = None
        """Where tasks begin."""
        self._lanes: dict[Lane, int] = {}
        """All that run, and how many tasks each has."""
        self._threads: list[Lane] = []
        """All that have been started, those among them whose threads are still ending included."""
        self._started = False
        self._stopped = False
        self._idle: Future[None] | None = None
        """Waited for by ``stop``: resolved when nothing runs."""

    @abstractmethod
    def _make_lane(self) -> Lane:
        """A new lane, not started."""

    @property
    def running(self) -> int:
        """How many tasks run now that were not released."""
        return len(self._tasks) - len(self._released)

    @property
    def queued(self) -> int:
        """How many tasks wait for a place."""
        return len(self._queue)

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin what was submitted."""
        self._check_process()
        with self._lock:
            self._started = True
        self._rouse()

    def submit(self, tasks: Sequence[Task]) -> list[Task]:
        """Put the tasks in line; tasks submitted before ``start`` wait for it."""
        self._check_process()
        with self._lock:
            if self._stopped:
                raise NotInitialized(f"executor {self.name!r} has stopped")
            turned_away = self._queue.put(tasks, max(0, self.capacity - self.running))
        self._rouse()
        return turned_away

    def release(self, task: Task) -> None:
        """Count this task no longer, and let another one take its place."""
        with self._lock:
            lane = self._tasks.get(task)
            if lane is None:
                return
            self._released.add(task)
            if lane.stalled:
                self._move_on(lane)
        self._rouse()

    def interrupt(self, task: Task) -> bool:
        """Throw into the job of this task, at its next turn."""
        with self._lock:
            lane = self._tasks.get(task)
        return lane is not None and lane.call(partial(lane.throw, task))

    def stop(self, timeout: float) -> list[str]:
        """Begin nothing more and wait for the running jobs; the ids of those that did not end or
        begin.
        """
        if current_pid() != self._pid:
            return []
        idle: Future[None] = Future()
        with self._lock:
            self._stopped = True
            abandoned = [task.claim.id for task in self._queue.clear()]
            if not self._tasks:
                idle.resolve(None)
            self._idle = idle
        try:
            idle.get(timeout=max(0.0, timeout))
        except AskTimeout:
            with self._lock:
                return abandoned + [task.claim.id for task in self._tasks]
        # A lane that runs no more ends on its own: its thread is waited for all the same.
        with self._lock:
            lanes = list(self._threads)
        for lane in lanes:
            lane.close()
            lane.join(max(timeout, 0.1))
        return abandoned

    def _check_process(self) -> None:
        if current_pid() != self._pid:
            raise ForkedError("this executor belongs to the parent process; make one here")

    # -- lanes ---------------------------------------------------------------------------------

    def _rouse(self) -> None:
        """Have the lane begin what it can; there is one from now on, if there is work for it."""
        with self._lock:
            if not self._started or self._stopped or not self._queue:
                return
            lane = self._lane or self._add_lane()
        if lane is not None:
            lane.call(partial(self.lane_opened, lane))

    def _add_lane(self) -> Lane | None:
        """Under the lock."""
        lane = self._make_lane()
        try:
            lane.start()
        except LoopClosed as error:
            # Elsewhere: what fails may hand over what was in line behind it, and so come back here.
            NativeThread(partial(self._lose_all, error), f"kalends-{self.name}-lost").start()
            return None
        except RuntimeError:
            # The system gives no more threads: the next task that comes tries again.
            _log.exception("job_thread_refused", threads=len(self._lanes))
            return None
        self._lane = lane
        self._lanes[lane] = 0
        self._threads = [*(other for other in self._threads if not other.join(0.0)), lane]
        return lane

    def lane_opened(self, lane: Lane) -> None:
        """Begin what there is room for; on the lane."""
        while True:
            with self._lock:
                if self._stopped or self._lane is not lane or self.running >= self.capacity:
                    return
                task = self._queue.pop()
                if task is None:
                    return
                self._tasks[task] = lane
                self._lanes[lane] += 1
            try:
                lane.begin(task, self._context, self._ended)
            except BaseException as error:  # noqa: BLE001 - the loop is not this executor's alone
                _log.exception("job_worker_failed", executor=self.name)
                lose(task, error)
                self._ended(task)

    def lane_stalled(self, lane: Lane) -> None:
        """A lane stands still; on its watchdog."""
        with self._lock:
            if any(self._tasks.get(task) is lane for task in self._released):
                self._move_on(lane)
        self._rouse()

    def _move_on(self, lane: Lane) -> None:
        """Begin nothing more on a lane that stands still. Under the lock."""
        if self._lane is lane and len(self._lanes) < LANES:
            self._lane = None
            _log.warning("lane_left", executor=self.name, lanes=len(self._lanes))

    def lane_gone(self, lane: Lane) -> None:
        """A lane runs no more: what was on it fails, what comes begins on another one."""
        with self._lock:
            if self._lane is lane:
                self._lane = None
            lost = [task for task, where in self._tasks.items() if where is lane]
        for task in lost:
            lose(task, LoopClosed(f"the loop of executor {self.name!r} was closed"))
            self._ended(task)
        with self._lock:
            self._lanes.pop(lane, None)
        self._rouse()

    def _lose_all(self, error: LoopClosed) -> None:
        """There is no lane, and will be none."""
        while True:
            with self._lock:
                task = self._queue.pop()
            if task is None:
                return
            lose(task, error)

    # -- tasks ---------------------------------------------------------------------------------

    def _ended(self, task: Task) -> None:
        """A task has reported, or was taken back."""
        with self._lock:
            lane = self._tasks.pop(task, None)
            if lane is None:
                return
            self._released.discard(task)
            self._lanes[lane] -= 1
            over = self._lanes[lane] == 0 and (self._stopped or lane is not self._lane)
            idle = None if self._tasks else self._idle
            more = bool(self._queue)
        if more:
            self._rouse()
        if over:
            lane.close()
        if idle is not None:
            idle.resolve(None)
