"""From a task to its executor: which job, which kind of executor, and what cannot be handed over.

A task whose job nobody registered, or whose executor there is not, goes to ``dismiss``, which
answers with the tasks that move up in its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from kalends.clock import SystemClock
from kalends.errors import KalendsError, ValidationFailed, did_you_mean
from kalends.jobs.executors.base import Executor, Task
from kalends.jobs.registry import Registry

__all__ = ["Dispatcher"]

_LOOK_EVERY = 0.05
"""Seconds until a wait for running jobs looks again how much time is left."""


class Dispatcher:
    """Hands queued tasks to executors by kind. Takes no lock, and needs none."""

    def __init__(
        self,
        registry: Registry,
        executors: Mapping[str, Executor],
        default: str,
        dismiss: Callable[[Task, KalendsError], list[Task]],
    ) -> None:
        self._registry = registry
        self._executors = dict(executors)
        self._default = default
        self._dismiss = dismiss

    def start(self) -> None:
        """Start the executors."""
        for executor in self._executors.values():
            executor.start()

    def stop(self, timeout: float | Callable[[], float]) -> None:
        """Stop the executors and wait ``timeout`` seconds for what runs; a callable says how many
        are left, and is asked again while this waits.
        """
        left = timeout if callable(timeout) else _countdown(timeout)
        for executor in self._executors.values():
            while executor.stop(min(max(0.0, left()), _LOOK_EVERY)) and left() > 0.0:
                continue

    def hand_over(self, tasks: Iterable[Task]) -> None:
        """Give queued tasks to their executors, in order."""
        todo = deque(tasks)
        while todo:
            batches: dict[str, list[Task]] = {}
            while todo:
                task = todo.popleft()
                try:
                    batches.setdefault(self._kind(task), []).append(task)
                except KalendsError as error:
                    todo.extend(self._dismiss(task, error))
            for kind, batch in batches.items():
                try:
                    self._executor(kind).submit(batch)
                except KalendsError as error:
                    for task in batch:
                        todo.extend(self._dismiss(task, error))

    def release(self, task: Task) -> None:
        """Free the place of a task that was handed over and is written off."""
        self._executor(self._kind(task)).release(task)

    def _kind(self, task: Task) -> str:
        """Find the job of a task; the executor it wants. Imports nothing: the worker does."""
        name = task.claim.job
        task.job = self._registry.find(name)
        if task.job is None and not self._registry.importable(name):
            task.job = self._registry.get(name)
        return self._default if task.job is None else task.job.executor

    def _executor(self, kind: str) -> Executor:
        executor = self._executors.get(kind)
        if executor is None:
            hint = did_you_mean(kind, self._executors)
            raise ValidationFailed(f"there is no executor {kind!r}{hint}", path="executor")
        return executor


def _countdown(seconds: float) -> Callable[[], float]:
    # Waiting for threads takes real time, also where the clock is moved by hand.
    real = SystemClock()
    deadline = real.monotonic() + seconds
    return lambda: deadline - real.monotonic()
