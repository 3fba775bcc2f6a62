"""From a task to its executor: which job, which executor, and what cannot be handed over.

The event's choice of an executor goes before its job's. A task whose job nobody registered, whose
executor there is not or is for another kind of function, goes to ``dismiss``; those for which their
executor has no room go to ``turn_away``. Both answer with the tasks that move up in their place.

An executor that raises where its contract says it does not (a host may have written it) costs
nobody else anything: ``executor_failed`` is logged, the tasks that it was given and did not begin
have failed with what it raised, and the others are stopped all the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from kalends.clock import SystemClock
from kalends.errors import KalendsError, ValidationFailed, did_you_mean
from kalends.jobs.codec import said
from kalends.jobs.executors.base import Executor, Task
from kalends.jobs.executors.bounds import ExecutorStatus
from kalends.jobs.registry import Registry, check_fit
from kalends.logs import get_log
from kalends.native import get_ident

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
        self._failing: dict[int, list[Task]] = {}
        """By thread: tasks that move up while others are ended on it."""
        self.unstopped: set[str] = set()
        """The names of executors whose ``stop`` raised."""

    def start(self) -> None:
        """Start the executors. Raises ``ValidationFailed`` naming the one that raises."""
        for name, executor in self._executors.items():
            try:
                executor.start()
            except KalendsError:
                raise
            except Exception as error:
                raise ValidationFailed(
                    f"start() of executor {name!r} raised {said(error)}", path=f"executors.{name}"
                ) from error

    def stop(self, timeout: float | Callable[[], float]) -> None:
        """Stop the executors and wait ``timeout`` seconds for what runs; a callable says how many
        are left, and is asked again while this waits.
        """
        self._stop(self._executors, timeout)

    def hand_over(self, tasks: Iterable[Task]) -> None:
        """Give queued tasks to their executors, in order."""
        if self._failing and (later := self._failing.get(get_ident())) is not None:
            later.extend(tasks)  # else each failure of a long line would lie inside the one before
            return
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
            if not turned_away:
                return []
            turned_away = [task for task in turned_away if isinstance(task, Task)]
        except KalendsError as error:
            return [following for task in batch for following in self._dismiss(task, error)]
        except Exception as error:  # noqa: BLE001 - somebody else's executor
            _log.exception("executor_failed", executor=name, method="submit")
            return self._fail(batch, error)
        _log.warning("queue_full", executor=name, turned_away=len(turned_away))
        return self._turn_away(turned_away)

    def _fail(self, batch: Iterable[Task], error: Exception) -> list[Task]:
        """End tasks that have not begun as failed; those that move up in their lines."""
        ident = get_ident()
        following = self._failing.setdefault(ident, [])
        try:
            for task in batch:
                if task.begin():
                    task.fail(error)
        finally:
            self._failing.pop(ident, None)
        return following

    def statuses(self) -> tuple[ExecutorStatus, ...]:
        """Each executor as it is now, but for those that do not say."""
        found = (_status(name, executor) for name, executor in self._executors.items())
        return tuple(status for status in found if status is not None)

    # -- what was handed over ------------------------------------------------------------------

    def release(self, task: Task) -> None:
        """Free the place of a task that was handed over and is written off."""
        if task.executor is not None:
            try:
                task.executor.release(task)
            except Exception:  # noqa: BLE001 - somebody else's executor
                _log.exception("executor_failed", executor=task.executor.name, method="release")

    def interrupt(self, task: Task) -> bool:
        """Stop the job of a task that was handed over, where its executor can."""
        if task.executor is None:
            return False
        try:
            return task.executor.interrupt(task)
        except Exception:  # noqa: BLE001 - somebody else's executor
            _log.exception("executor_failed", executor=task.executor.name, method="interrupt")
            return False

    def end(self, tasks: Iterable[Task]) -> None:
        """After ``stop``: interrupt what still runs, and wait a moment for as much of it as is
        being stopped.
        """
        stopping = {
            task.executor.name: task.executor
            for task in tasks
            if self.interrupt(task) and task.executor
        }
        self._stop(stopping, _LAST_S)

    def _stop(
        self, executors: Mapping[str, Executor], timeout: float | Callable[[], float]
    ) -> None:
        left = timeout if callable(timeout) else _countdown(timeout)
        for name, executor in executors.items():
            try:
                while executor.stop(min(max(0.0, left()), _LOOK_EVERY)) and left() > 0.0:
                    continue
            except Exception:  # noqa: BLE001 - somebody else's executor
                self.unstopped.add(name)
                _log.exception("executor_failed", executor=name, method="stop")

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


def _status(name: str, executor: Executor) -> ExecutorStatus | None:
    try:
        return ExecutorStatus(
            name=name,
            capacity=executor.capacity,
            running=executor.running,
            queue_limit=executor.queue_limit,
            queued=executor.queued,
        )
    except Exception:  # noqa: BLE001 - somebody else's executor
        _log.exception("executor_failed", executor=name, method="status")
        return None


def _countdown(seconds: float) -> Callable[[], float]:
    # Waiting for threads takes real time, also where the clock is moved by hand.
    real = SystemClock()
    deadline = real.monotonic() + seconds
    return lambda: deadline - real.monotonic()
