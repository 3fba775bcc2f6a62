"""The line of tasks in front of an executor: by priority, bounded.

Promises: a higher priority goes first, and of one priority what came first; there are never more
than ``limit`` tasks beside those for which places are free; where more come, those of the lowest
priority are turned away, of these the newest, whether they came just now or waited before. What its
owner has withdrawn makes way for what comes, and never leaves the line to be run. Nothing here
takes a lock.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kalends.jobs.executors.base import Task

__all__ = ["TaskQueue"]


class TaskQueue:
    """One line for each priority that is there."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lines: dict[int, deque[Task]] = {}
        self._priorities: list[int] = []
        """Those that have a line, ascending."""
        self._length = 0

    def __len__(self) -> int:
        """How many tasks there are, withdrawn ones included."""
        return self._length

    def put(self, tasks: Iterable[Task], free: int) -> list[Task]:
        """Put the tasks in line, where ``free`` of them need not wait; those for which there is no
        room.
        """
        for task in tasks:
            priority = task.claim.priority
            if priority not in self._lines:
                self._lines[priority] = deque()
                insort(self._priorities, priority)
            self._lines[priority].append(task)
            self._length += 1
        most = self.limit + free
        if self._length > most:
            self._drop_withdrawn()
        return [self._take(0, newest=True) for _ in range(self._length - most)]

    def pop(self) -> Task | None:
        """The task that is next; None: there is none."""
        while self._priorities:
            task = self._take(-1, newest=False)
            if not task.withdrawn:
                return task
        return None

    def clear(self) -> list[Task]:
        """Take everything out, in order."""
        taken = [task for priority in reversed(self._priorities) for task in self._lines[priority]]
        self._lines.clear()
        self._priorities.clear()
        self._length = 0
        return taken

    def _take(self, place: int, *, newest: bool) -> Task:
        priority = self._priorities[place]
        line = self._lines[priority]
        task = line.pop() if newest else line.popleft()
        self._length -= 1
        if not line:
            del self._lines[priority], self._priorities[place]
        return task

    def _drop_withdrawn(self) -> None:
        left = [task for task in self.clear() if not task.withdrawn]
        for task in left:
            self._lines.setdefault(task.claim.priority, deque()).append(task)
        self._priorities = sorted(self._lines)
        self._length = len(left)
