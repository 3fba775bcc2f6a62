"""Jobs as greenlets: thousands at once, on one thread with a gevent hub of its own.

Promises beside the contract, and those of ``cooperative``: the host's hubs are never used, and
nothing is patched; it works the same in a patched process. A job lets the others have their turn
whenever it waits in gevent's way: ``gevent.sleep``, gevent's sockets, locks and queues, or the
standard library's where the host has patched it. It runs in a copy of the context variables that
were set where the executor was made.

What is interrupted has ``gevent.Timeout`` raised in it where it waits, if it took longer than it
may, or else ``GreenletExit``: neither is an ``Exception``. A job that handles them and goes on was
told, and still runs. Greenlets that a job has spawned are its own to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import Any

import gevent
import gevent.exceptions
import gevent.hub

from kalends.jobs.executors.base import Task
from kalends.jobs.executors.bounds import QUEUE_LIMIT
from kalends.jobs.executors.cooperative import CooperativeExecutor
from kalends.jobs.executors.lanes import Ended, LaneOwner, LaneThread
from kalends.logs import get_log
from kalends.native import hold_open

__all__ = ["GreenletExecutor"]

_log = get_log()


class GreenletExecutor(CooperativeExecutor):
    """At most ``size`` greenlets at once. The contract: ``kalends.jobs.executors.base``."""

    coroutines = False
    interrupts = True

    def __init__(
        self,
        size: int = 10_000,
        *,
        queue_limit: int = QUEUE_LIMIT,
        stall_after: float = 1.0,
        name: str = "greenlet",
        context: Context | None = None,
    ) -> None:
        """``queue_limit``: how many tasks may wait. ``stall_after``: for how many seconds a job may
        keep the others from their turn before that is logged.

        Raises ``ValidationFailed`` for numbers out of range.
        """
        super().__init__(
            size, queue_limit=queue_limit, stall_after=stall_after, name=name, context=context
        )

    def fresh(self, name: str) -> GreenletExecutor:
        """Another one like this. Without a context of its own it takes the caller's."""
        return GreenletExecutor(
            self.capacity,
            queue_limit=self.queue_limit,
            stall_after=self._stall_after,
            name=name,
            context=self._given_context,
        )

    def _make_lane(self) -> _GreenletLane:
        return _GreenletLane(f"kalends-{self.name}", self, self._stall_after)


class _GreenletLane(LaneThread):
    """A thread with a hub."""

    def __init__(self, name: str, owner: LaneOwner, stall_after: float) -> None:
        super().__init__(name, owner, stall_after)
        self._hub: Any = None
        self._greenlets: dict[Task, gevent.Greenlet[..., None]] = {}

    def _run(self) -> None:
        hub: Any = gevent.get_hub()
        # gevent would throw SystemExit at this thread's main greenlet.
        hub.handle_error = self._report
        keep_alive = hub.loop.async_()
        keep_alive.start(lambda: None)
        hold_open(hub.loop)
        self._hub = hub
        self._opened()
        try:
            gevent.hub.Waiter(hub).get()
        except gevent.exceptions.LoopExit:
            return  # as ``close`` asked for
        finally:
            self._hub = None
            keep_alive.stop()
            keep_alive.close()

    def _report(self, context: object, kind: type, error: BaseException, _tb: object) -> None:
        if not issubclass(kind, gevent.GreenletExit):
            _log.error("hub_callback_failed", hub=self.name, context=repr(context), exc_info=error)

    def call(self, function: Callable[[], None]) -> bool:
        """Call it soon, as a callback of the hub."""
        hub = self._hub
        if hub is None:
            return False
        try:
            hub.loop.run_callback_threadsafe(function)
        except ValueError:  # it was destroyed
            return False
        return True

    def begin(self, task: Task, context: Context, ended: Ended) -> None:
        """Begin a task in a greenlet of its own."""
        made = gevent.Greenlet(self._run_task, task, context, ended)
        self._greenlets[task] = made
        made.start()

    def _run_task(self, task: Task, context: Context, ended: Ended) -> None:
        try:
            task.run(context)
        except BaseException as error:  # noqa: BLE001 - not the job's: a bug here, or of the owner
            _log.exception("job_worker_failed", executor=self.name)
            task.give_up(error)
        finally:
            del self._greenlets[task]
            ended(task)

    def throw(self, task: Task) -> None:
        """Raise in the job, where it waits. What it does on that, it does now."""
        running = self._greenlets.get(task)
        if running is not None and task.calling:
            running.throw(gevent.Timeout(None) if task.timed_out else gevent.GreenletExit())

    def close(self) -> None:
        """End the loop: its hub raises ``LoopExit`` in the greenlet that waits for it."""
        # Not by a switch from a callback: the hub would be left inside of that, and an interpreter
        # that ends has been seen to crash over such a hub.
        hub = self._hub
        if hub is not None:
            self.call(hub.loop.break_)
