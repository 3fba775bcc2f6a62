"""From a task to its executor: which job, which executor, and what cannot be handed over.

The event's choice of an executor goes before its job's. A task whose job nobody registered, whose
executor there is not or is for another kind of function, goes to ``dismiss``; those for which their
executor has no room go to ``turn_away``. Both answer with the tasks that move up in their place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from kalends.clock import SystemClock
from kalends.errors import KalendsError, ValidationFailed, did_you_mean
from kalends.jobs.executors.base import Executor, Task
from kalends.jobs.executors.bounds import ExecutorStatus
from kalends.jobs.registry import Registry, check_fit
from kalends.logs import get_log

__all__ = ["Dispatcher"]

_log = get_log()
_LAST_S = 1.0
"""Seconds for jobs to end that are interrupted when the deadline of a stop has passed."""
_LOOK_EVERY = 0.05
"""Seconds until a wait for running jobs looks again how much time is left."""


class Dispatcher:
    """Hands queued tasks to executors by name. Takes no lock, and needs none."""

    def __init__(
        self,
        registry: Registry,
        executors: Mapping[str, Executor],
        default: str,
        dismiss: Callable[[Task, KalendsError], list[Task]],
        turn_away: Callable[[Sequence[Task]], list[Task]],
    ) -> None:
        self._registry = registry
        self._executors = dict(executors)
        self._default = default
        self._dismiss = dismiss
        self._turn_away = turn_away

    def start(self) -> None:
        """Start the executors."""
        for executor in self._executors.values():
            executor.start()

    def stop(self, timeout: float | Callable[[], float]) -> None:
        """Stop the executors and wait ``timeout`` seconds for what runs; a callable says how many
        are left, and is asked again while this waits.
        """
        _stop(self._executors.values(), timeout)

    def hand_over(self, tasks: Iterable[Task]) -> None:
        """Give queued tasks to their executors, in order."""
        todo = deque(tasks)
        while todo:
            batches: dict[str, list[Task]] = {}
            while todo:
                task = todo.popleft()
                try:
                    batches.setdefault(self._place(task), []).append(task)
                except KalendsError as error:
                    todo.extend(self._dismiss(task, error))
            for name, batch in batches.items():
                todo.extend(self._submit(name, self._executors[name], batch))

    def _submit(self, name: str, executor: Executor, batch: Sequence[Task]) -> list[Task]:
        """Give tasks to one executor; those that move up where some of them did not stay."""
        try:
            turned_away = executor.submit(batch)
        except KalendsError as error:
            return [following for task in batch for following in self._dismiss(task, error)]
        if not turned_away:
            return []
        _log.warning("queue_full", executor=name, turned_away=len(turned_away))
        return self._turn_away(turned_away)

    def statuses(self) -> tuple[ExecutorStatus, ...]:
        """Each executor as it is now."""
        return tuple(
            ExecutorStatus(
                name=name,
                capacity=executor.capacity,
                running=executor.running,
                queue_limit=executor.queue_limit,
                queued=executor.queued,
            )
            for name, executor in self._executors.items()
        )

    # -- what was handed over ------------------------------------------------------------------

    def release(self, task: Task) -> None:
        """Free the place of a task that was handed over and is written off."""
        if task.executor is not None:
            task.executor.release(task)

    def interrupt(self, task: Task) -> bool:
        """Stop the job of a task that was handed over, where its executor can."""
        return task.executor is not None and task.executor.interrupt(task)

    def end(self, tasks: Iterable[Task]) -> None:
        """After ``stop``: interrupt what still runs, and wait a moment for as much of it as is
        being stopped.
        """
        stopping = {
            task.executor.name: task.executor
            for task in tasks
            if self.interrupt(task) and task.executor
        }
        _stop(stopping.values(), _LAST_S)

    # -- which executor ------------------------------------------------------------------------

    def _place(self, task: Task) -> str:
        """Find the job of a task; the executor it wants. Imports nothing: the worker does."""
        claim = task.claim
        if task.job is None:
            task.job = self._registry.find(claim.job)
        if task.job is None and not self._registry.importable(claim.job):
            task.job = self._registry.get(claim.job)
        job = task.job
        name = claim.executor or (self._default if job is None else job.executor)
        executor = self._executors.get(name)
        if executor is None:
            hint = did_you_mean(name, self._executors)
            raise ValidationFailed(f"there is no executor {name!r}{hint}", path="executor")
        if job is not None:
            check_fit(job, name, executor)
        task.executor = executor
        return name


def _stop(executors: Iterable[Executor], timeout: float | Callable[[], float]) -> None:
    left = timeout if callable(timeout) else _countdown(timeout)
    for executor in executors:
        while executor.stop(min(max(0.0, left()), _LOOK_EVERY)) and left() > 0.0:
            continue


def _countdown(seconds: float) -> Callable[[], float]:
    # Waiting for threads takes real time, also where the clock is moved by hand.
    real = SystemClock()
    deadline = real.monotonic() + seconds
    return lambda: deadline - real.monotonic()
