"""Jobs in virtual time: called at once, or played by a script that says how long and how it ends.

Promises: its bounds are those of the executor whose place it takes; a task that is played ends
exactly its duration after it began; a job that is really called runs in a greenlet of its own and
takes no time, unless it calls ``kalends.testing.sleep``, and a coroutine none, unless it awaits
``asyncio.sleep``; what is interrupted ends at once, where the executor whose place it takes can do
that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Protocol

import gevent
import msgspec

from kalends.actors.hub import Timer
from kalends.errors import AskTimeout, NotInitialized, ValidationFailed
from kalends.futures import Future
from kalends.jobs.executors.asyncio import Coroutines
from kalends.jobs.executors.base import Executor, Task
from kalends.jobs.executors.queue import TaskQueue
from kalends.testing.clock import microseconds
from kalends.testing.virtual.coroutines import VirtualEventLoop
from kalends.testing.virtual.process import VirtualProcess
from kalends.work import Claim

__all__ = ["Played", "Script", "SimulatedFailure", "VirtualExecutor", "sleep"]


class SimulatedFailure(Exception):
    """What a played job raises where the script only says that it fails."""

    __module__ = "kalends.testing"  # the name that ledgers and policies have for it


class Played(msgspec.Struct, frozen=True):
    """How one attempt goes: how many seconds it takes, and what it raises in the end, if so."""

    seconds: float = 0.0
    error: BaseException | None = None


class Script(Protocol):
    """Says how attempts go."""

    def play(self, claim: Claim) -> Played | None:
        """How this attempt goes; None: the registered function is called."""


After = Callable[[float, Callable[[], None]], Timer]


class VirtualExecutor:
    """The contract of ``kalends.jobs.executors.base``, on one thread and in virtual time."""

    def __init__(
        self, name: str, model: Executor, process: VirtualProcess, script: Script, after: After
    ) -> None:
        """``model`` is the executor whose place this one takes."""
        self.name = name
        self.coroutines = model.coroutines
        self.isolated = model.isolated
        self.interrupts = model.interrupts
        self.capacity = model.capacity
        self.queue_limit = model.queue_limit
        self._model = model
        self._process = process
        self._script = script
        self._after = after
        self._context: Context = copy_context()
        self._queue = TaskQueue(self.queue_limit)
        self._tasks: dict[Task, None] = {}
        self._released: set[Task] = set()
        self._stops: dict[Task, Callable[[], None]] = {}
        """How each task that runs is stopped."""
        self._loop: VirtualEventLoop | None = None
        self._coroutines = Coroutines()
        self._started = False
        self._stopped = False
        self._idle: Future[None] | None = None
        self._filling = False

    @property
    def running(self) -> int:
        """How many tasks run now that were not released."""
        return len(self._tasks) - len(self._released)

    @property
    def queued(self) -> int:
        """How many tasks wait for a place."""
        return len(self._queue)

    def fresh(self, name: str) -> VirtualExecutor:
        """Another one, in the same process."""
        return VirtualExecutor(name, self._model, self._process, self._script, self._after)

    def start(self) -> None:
        """Begin to run what is submitted."""
        self._started = True
        self._process.call(self._fill)

    def submit(self, tasks: Sequence[Task]) -> list[Task]:
        """Put the tasks in line. Raises ``NotInitialized`` after ``stop``."""
        if self._stopped:
            raise NotInitialized(f"executor {self.name!r} has stopped")
        turned_away = self._queue.put(tasks, max(0, self.capacity - self.running))
        self._process.call(self._fill)
        return turned_away

    def release(self, task: Task) -> None:
        """Count a task that runs no longer: another one may begin in its place."""
        if task in self._tasks:
            self._released.add(task)
            self._process.call(self._fill)

    def interrupt(self, task: Task) -> bool:
        """Stop a task that runs, where the model could."""
        stop = self._stops.get(task) if self.interrupts else None
        if stop is not None:
            self._process.call(stop)
        return stop is not None

    def stop(self, timeout: float) -> list[str]:
        """Begin nothing more; the ids of what has not ended ``timeout`` seconds later."""
        self._stopped = True
        abandoned = [task.claim.id for task in self._queue.clear()]
        if self._tasks:
            self._idle = Future()
            try:
                self._idle.get(timeout=timeout)
            except AskTimeout:
                return abandoned + [task.claim.id for task in self._tasks]
        return abandoned

    # -- one task ------------------------------------------------------------------------------

    def _fill(self) -> None:
        self._filling = True
        try:
            self._begin_all()
        finally:
            self._filling = False

    def _begin_all(self) -> None:
        while self._started and self.running < self.capacity:
            task = self._queue.pop()
            if task is None:
                return
            self._tasks[task] = None
            played = self._play(task)
            if played is not None:
                self._begin_played(task, played)
            elif self.coroutines:
                self._begin_coroutine(task)
            else:
                greenlet = self._process.spawn(partial(self._really_run, task))
                self._stops[task] = partial(_throw, task, greenlet)

    def _begin_coroutine(self, task: Task) -> None:
        loop = self._loop = self._loop or VirtualEventLoop(self._process)

        def stop() -> None:
            self._coroutines.throw(task)
            loop.wake()

        self._stops[task] = stop
        self._coroutines.begin(loop, task, self._context, self._leave)
        loop.wake()

    def _begin_played(self, task: Task, played: Played) -> None:
        if not task.begin():
            self._leave(task)
        elif played.seconds > 0.0:
            timer = self._after(played.seconds, partial(self._end, task, played))
            self._stops[task] = partial(self._stop_played, task, timer)
        else:
            self._end(task, played)

    def _stop_played(self, task: Task, timer: Timer) -> None:
        if task in self._stops:  # else it has just ended
            timer.cancel()
            self._end(task, Played(error=gevent.GreenletExit()))

    def _play(self, task: Task) -> Played | None:
        """What the script says; where it raises, time stops and the test hears of it."""
        try:
            return self._script.play(task.claim)
        except Exception as error:  # noqa: BLE001  (the test's own, to be raised there)
            self._process.trouble = error
            return Played(error=error)

    def _really_run(self, task: Task) -> None:
        try:
            task.run(self._context)
        finally:
            self._leave(task)

    def _end(self, task: Task, played: Played) -> None:
        if played.error is None:
            task.succeed(None)
        else:
            task.fail(played.error)
        self._leave(task)

    def _leave(self, task: Task) -> None:
        self._tasks.pop(task, None)
        self._stops.pop(task, None)
        self._released.discard(task)
        if self._queue and not self._filling:
            self._process.call(self._fill)
        if self._idle is not None and not self._tasks:
            self._idle.resolve(None)


def _throw(task: Task, greenlet: gevent.Greenlet[..., None]) -> None:
    if task.calling:
        greenlet.throw(gevent.GreenletExit())


def sleep(seconds: float) -> None:
    """Inside a job that runs in virtual time: let so many seconds pass there.

    Raises ``ValidationFailed`` for what is no number, or a negative one. In a thread of
    real time it really sleeps.
    """
    if microseconds(seconds, "seconds") < 0:
        raise ValidationFailed("seconds must not be negative", path="seconds")
    gevent.sleep(seconds)
