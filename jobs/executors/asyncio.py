"""Coroutine jobs: on an event loop of the executor's own, or on one of the host.

Promises beside the contract, and those of ``cooperative``: without a loop it makes its own, on a
thread of its own. On the loop of a host it starts no job before that runs, and never stops, closes
or blocks it; where the host closes the loop, what runs there and what comes fails with
``LoopClosed``. A job runs in a copy of the context variables that were set where the executor was
made, and as whatever the loop's task factory makes; where that makes nothing, it fails.

What a job has called beside itself (its own asyncio tasks, callbacks) may raise what it likes: on
the executor's own loop ``SystemExit`` and ``KeyboardInterrupt`` are logged and end nothing else. On
the loop of a host they end that, as its own code's do. A job that stops the loop (``loop.stop()``)
or cancels all tasks of it (``asyncio.all_tasks()``) takes its neighbours along: jobs of one
executor share a loop, as an application's coroutines do.

What is interrupted is cancelled: ``asyncio.CancelledError`` is raised in it where it awaits. A job
that handles it and goes on was told, and still runs. Asyncio tasks that a job has made are its own
to cancel, but at the end of the executor's own loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial

from kalends.errors import ValidationFailed
from kalends.jobs.executors.base import Task
from kalends.jobs.executors.bounds import QUEUE_LIMIT
from kalends.jobs.executors.cooperative import CooperativeExecutor
from kalends.jobs.executors.lanes import Ended, Lane, LaneOwner, LaneThread, LoopClosed, lose
from kalends.logs import get_log
from kalends.native import allocate_lock
from kalends.watchdog import Watchdog

__all__ = ["AsyncioExecutor", "Coroutines", "LoopClosed"]

_log = get_log()


class AsyncioExecutor(CooperativeExecutor):
    """At most ``size`` coroutines at once. The contract: ``kalends.jobs.executors.base``."""

    coroutines = True
    interrupts = True

    def __init__(
        self,
        size: int = 10_000,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        queue_limit: int = QUEUE_LIMIT,
        stall_after: float = 1.0,
        name: str = "asyncio",
        context: Context | None = None,
    ) -> None:
        """``loop``: the host's, which the host runs; None: one of its own. ``queue_limit``: how
        many tasks may wait. ``stall_after``: for how many seconds a job may keep the others from
        their turn before that is logged, on its own loop.

        Raises ``ValidationFailed`` for numbers out of range, and for what is no loop.
        """
        if loop is not None and not isinstance(loop, asyncio.AbstractEventLoop):
            raise ValidationFailed("loop must be an asyncio event loop", path="loop")
        super().__init__(
            size, queue_limit=queue_limit, stall_after=stall_after, name=name, context=context
        )
        self._loop = loop

    def fresh(self, name: str) -> AsyncioExecutor:
        """Another one like this, on the same loop of the host where it has one. Without a context
        of its own it takes the caller's.
        """
        return AsyncioExecutor(
            self.capacity,
            loop=self._loop,
            queue_limit=self.queue_limit,
            stall_after=self._stall_after,
            name=name,
            context=self._given_context,
        )

    def _make_lane(self) -> Lane:
        name = f"kalends-{self.name}"
        if self._loop is None:
            return _OwnLoop(name, self, self._stall_after)
        return _HostLoop(name, self, self._loop)


class Coroutines:
    """Tasks as tasks of asyncio, on one loop. Everything is called there."""

    def __init__(self) -> None:
        self._made: dict[Task, asyncio.Task[None]] = {}

    def begin(
        self, loop: asyncio.AbstractEventLoop, task: Task, context: Context, ended: Ended
    ) -> None:
        """Begin a task in a copy of the context; ``ended`` is called when it has reported."""
        coroutine = _run(task)
        try:
            # Not ``context=``: a task factory of the host's need not take that.
            made = context.copy().run(loop.create_task, coroutine)
            made.add_done_callback(partial(self._done, task, ended))
        except BaseException:
            coroutine.close()
            raise
        self._made[task] = made

    def _done(self, task: Task, ended: Ended, made: asyncio.Task[None]) -> None:
        self._made.pop(task, None)
        if made.cancelled():  # by somebody else, before its first turn
            lose(task, asyncio.CancelledError("the event loop was being closed"))
        elif (error := made.exception()) is not None:
            task.give_up(error)
        ended(task)

    def throw(self, task: Task) -> None:
        """Cancel the job of a task, if it runs at this moment."""
        made = self._made.get(task)
        if made is not None and task.calling:
            made.cancel("timed out" if task.timed_out else "cancelled")


async def _run(task: Task) -> None:
    """Do it all. Raises nothing of the job's."""
    task.enter()
    call = task.prepare()
    if call is None or not task.begin():
        return
    function, args, kwargs = call
    try:
        task.calling = True
        value = await function(*args, **kwargs)
        task.calling = False
    except BaseException as error:  # noqa: BLE001 - the barrier: a job's exception is its outcome
        task.calling = False
        # args and kwargs would live on in this frame, which the traceback holds.
        del call, function, args, kwargs
        task.fail(error)
        return
    task.succeed(value)


class _OwnLoop(LaneThread):
    """A thread with an event loop."""

    def __init__(self, name: str, owner: LaneOwner, stall_after: float) -> None:
        super().__init__(name, owner, stall_after)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = False
        self._closing = allocate_lock()
        self._tasks = Coroutines()

    def _run(self) -> None:
        # At its end the runner cancels whatever jobs have left behind, and waits for that.
        with asyncio.Runner() as runner:
            self._loop = loop = runner.get_loop()
            loop.call_soon(self._opened)
            try:
                self._turn(loop)
            finally:
                self._loop = None
                self._owner.lane_gone(self)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run until ``close``. Raises ``LoopClosed`` where somebody else has stopped the loop."""
        while not self._over:
            try:
                loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - of a task or callback beside the jobs
                _log.error("hub_callback_failed", hub=self.name, context=repr(loop), exc_info=error)
                continue
            if not self._over:
                raise LoopClosed("a job has stopped the event loop")

    def call(self, function: Callable[[], None]) -> bool:
        """Call it soon, on the loop."""
        return self._loop is not None and _call(self._loop, function)

    def begin(self, task: Task, context: Context, ended: Ended) -> None:
        """Begin a task as one of asyncio."""
        assert self._loop is not None, "it is called on the loop"
        self._tasks.begin(self._loop, task, context, ended)

    def throw(self, task: Task) -> None:
        """Cancel it."""
        self._tasks.throw(task)

    def close(self) -> None:
        """Stop the loop."""
        loop = self._loop
        if loop is not None and self._closing.acquire(blocking=False):
            self.call(partial(self._end, loop))

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        self._over = True
        loop.stop()


class _HostLoop(Lane):
    """A loop that its host runs, and closes when it likes."""

    stalled = False
    """That is its host's to watch."""

    def __init__(self, name: str, owner: LaneOwner, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks = Coroutines()
        self._closing = allocate_lock()
        self._watchdog = Watchdog(
            name, self.call, lambda: 0, _LOOK_EVERY, on_gone=lambda: owner.lane_gone(self)
        )

    def start(self) -> None:
        """Begin to watch it. Raises ``LoopClosed``."""
        if self._loop.is_closed():
            raise LoopClosed("the host's event loop is closed")
        self._watchdog.start()

    def call(self, function: Callable[[], None]) -> bool:
        """Call it soon, on the loop, once that runs."""
        return _call(self._loop, function)

    def begin(self, task: Task, context: Context, ended: Ended) -> None:
        """Begin a task as one of asyncio."""
        self._tasks.begin(self._loop, task, context, ended)

    def throw(self, task: Task) -> None:
        """Cancel it."""
        self._tasks.throw(task)

    def close(self) -> None:
        """Watch it no longer."""
        if self._closing.acquire(blocking=False):
            self._watchdog.stop()

    def join(self, timeout: float) -> bool:
        """Wait for the watchdog."""
        return self._watchdog.join(timeout)


_LOOK_EVERY = 0.5
"""Seconds until a loop of the host is seen to have been closed."""


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> bool:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:  # it is closed
        return False
    return True
