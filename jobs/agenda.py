"""What is to happen to tasks, and when: what is armed begins, and what has begun has a deadline.

Promises: a task begins by the wall clock, never before its instant; a deadline passes once its job
has had so many microseconds of monotonic time, wherever the wall clock was set meanwhile; tasks
that were taken back or have ended are forgotten soon, so that the memory is that of what there is,
however far ahead it lies. Nothing here takes a lock: the runner calls under its own.
"""

from __future__ import annotations

import heapq
import itertools

from kalends.clock import US, Clock
from kalends.jobs.executors.base import Task
from kalends.jobs.lines import State

__all__ = ["Agenda"]

_SPARE = 64
"""How many deadlines of jobs that have ended are kept in any case."""


class Agenda:
    """Heaps: of instants on the wall clock, and of deadlines on the monotonic one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begins: list[int] = []
        """A heap of the instants at which tasks begin."""
        self._armed: dict[int, list[Task]] = {}
        """The tasks of each of them, in the order they came."""
        self._timeouts = _Deadlines()
        self._graces = _Deadlines()

    # -- to begin ------------------------------------------------------------------------------

    def arm(self, task: Task) -> None:
        """The task is to begin at the instant of its claim."""
        at = task.claim.due + task.claim.delay_us
        beside = self._armed.get(at)
        if beside is None:
            self._armed[at] = [task]
            heapq.heappush(self._begins, at)
        else:
            beside.append(task)

    def take_due(self) -> list[Task]:
        """The armed tasks whose instant has come, in order; they are no longer on the agenda."""
        now = self._clock.now_us()
        found: list[Task] = []
        while self._begins and (self._begins[0] <= now or self._is_void(self._begins[0])):
            tasks = self._armed.pop(heapq.heappop(self._begins))
            found += [task for task in tasks if task.state == State.ARMED]
        return found

    def _is_void(self, at: int) -> bool:
        """Whether nothing of what was to begin at an instant is armed any more."""
        return all(task.state != State.ARMED for task in self._armed[at])

    def next_begin(self) -> int | None:
        """The instant at which the next one begins; None: there is none."""
        return self._begins[0] if self._begins else None

    # -- to end --------------------------------------------------------------------------------

    def limit(self, task: Task, timeout_us: int) -> None:
        """The task begins now and has so long."""
        self._timeouts.set(task, self._now() + timeout_us)

    def grace(self, task: Task, grace_us: int) -> None:
        """The task, which runs, was told to stop now and has so long to do so."""
        self._graces.set(task, self._now() + grace_us)

    def lift(self, task: Task) -> None:
        """The task has ended: its deadlines, if it had any, mean nothing any more."""
        self._timeouts.lift(task)
        self._graces.lift(task)

    def take_overdue(self) -> list[Task]:
        """The tasks whose time-out has passed, in order; they are no longer on the agenda."""
        return self._timeouts.take(self._now())

    def take_ungraced(self) -> list[Task]:
        """The tasks that had time to stop and have not, in order; each is answered once."""
        return self._graces.take(self._now())

    def next_deadline(self) -> int | None:
        """When the next deadline passes, by the wall clock as it goes now; None: there is none."""
        found = [at for at in (self._timeouts.first(), self._graces.first()) if at is not None]
        return self._clock.now_us() + min(found) - self._now() if found else None

    def _now(self) -> int:
        return round(self._clock.monotonic() * US)


class _Deadlines:
    """A heap of deadlines, each of one task; those that are lifted stay in it for a while."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._heap: list[tuple[int, int, Task]] = []
        self._limited: set[Task] = set()
        """The tasks whose deadlines count."""

    def set(self, task: Task, at: int) -> None:
        self._limited.add(task)
        heapq.heappush(self._heap, (at, next(self._numbers), task))

    def lift(self, task: Task) -> None:
        if task in self._limited:
            self._limited.discard(task)
            if len(self._heap) > 2 * len(self._limited) + _SPARE:
                self._heap = [item for item in self._heap if item[2] in self._limited]
                heapq.heapify(self._heap)

    def take(self, now: int) -> list[Task]:
        found: list[Task] = []
        while self._heap and self._heap[0][0] <= now:
            task = heapq.heappop(self._heap)[2]
            if task in self._limited:
                self._limited.discard(task)
                found.append(task)
        return found

    def first(self) -> int | None:
        while self._heap and self._heap[0][2] not in self._limited:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
