"""Lanes: loops on threads, on which jobs take turns.

Promises: a lane runs tasks from the moment it calls ``lane_opened`` until ``close``, or until
somebody else ends its loop, which ``lane_gone`` tells; where it is a thread of its own, whatever
keeps the others from their turn is noticed by a watchdog, which logs the stack and calls
``lane_stalled``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import Context
from typing import Protocol

from kalends.jobs.executors.base import Task
from kalends.logs import get_log
from kalends.native import NativeThread, settle_gevent
from kalends.watchdog import Watchdog

__all__ = ["Ended", "Lane", "LaneOwner", "LaneThread", "LoopClosed", "lose"]

_log = get_log()
Ended = Callable[[Task], None]


class LoopClosed(RuntimeError):
    """The loop that a job ran on, or was to run on, was closed by somebody else."""


def lose(task: Task, error: BaseException) -> None:
    """End a task, begun or not, that its lane cannot run to its end."""
    if task.started_us or task.begin():
        task.fail(error)


class Lane(ABC):
    """A loop on a thread, on which jobs take turns."""

    @property
    @abstractmethod
    def stalled(self) -> bool:
        """Whether it stands still."""

    @abstractmethod
    def start(self) -> None:
        """Begin to run. Raises ``RuntimeError`` where that cannot be."""

    @abstractmethod
    def call(self, function: Callable[[], None]) -> bool:
        """Call it soon, on the lane, from any thread; False: the lane does not run (yet)."""

    @abstractmethod
    def begin(self, task: Task, context: Context, ended: Ended) -> None:
        """Begin a task in a copy of the context; on the lane. ``ended`` is called there when it has
        reported, or was taken back.
        """

    @abstractmethod
    def throw(self, task: Task) -> None:
        """Stop the job of a task, if it runs at this moment; on the lane."""

    @abstractmethod
    def close(self) -> None:
        """There is nothing more to run: end soon. From any thread; again changes nothing."""

    @abstractmethod
    def join(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; True when its threads have ended."""


class LaneOwner(Protocol):
    """Who uses a lane."""

    def lane_opened(self, lane: Lane) -> None:
        """It runs; on the lane."""

    def lane_stalled(self, lane: Lane) -> None:
        """It stands still; on another thread, and again as long as that lasts."""

    def lane_gone(self, lane: Lane) -> None:
        """It runs no more; on any thread."""


class LaneThread(Lane):
    """A lane that is a thread of its own, with a watchdog."""

    def __init__(self, name: str, owner: LaneOwner, stall_after: float) -> None:
        self.name = name
        self._owner = owner
        self._thread = NativeThread(self._live, name)
        self._watchdog = Watchdog(
            name,
            self.call,
            lambda: self._thread.ident or 0,
            stall_after,
            on_stall=lambda: owner.lane_stalled(self),
        )

    @property
    def stalled(self) -> bool:
        """Whether its watchdog has no answer."""
        return self._watchdog.stalled

    def start(self) -> None:
        """Start the thread, and do not wait for it."""
        settle_gevent()
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait for the thread and its watchdog."""
        return self._thread.join(timeout) and self._watchdog.join(timeout)

    @abstractmethod
    def _run(self) -> None:
        """Make the loop, call ``_opened``, and run until ``close``; on the thread."""

    def _opened(self) -> None:
        try:
            self._watchdog.start()
        except RuntimeError:
            _log.exception("job_thread_refused", threads=1)
        self._owner.lane_opened(self)

    def _live(self) -> None:
        try:
            self._run()
        except BaseException:  # noqa: BLE001 - whatever a job did to the loop
            _log.exception("job_worker_failed", executor=self.name)
        finally:
            self._watchdog.stop()
            self._owner.lane_gone(self)
