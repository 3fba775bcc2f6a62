"""The states of a task in the runner, and the lines of events that must not run beside themselves.

Promises: of one event at most one serial task is queued or begun; those behind it go on in the
order they came, each as soon as the one before it has left, however it left. Nothing here takes a
lock: the runner calls under its own.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum

from kalends.jobs.executors.base import Task

__all__ = ["Lines", "State"]


class State(IntEnum):
    """Where a task is, from its claim to its end."""

    ARMED = 0
    """Its instant has not come, or it stands in a line."""
    QUEUED = 1
    """Its executor has it."""
    BEGUN = 2
    WRITTEN_OFF = 3
    """It still runs, and the ledger says already how it ended."""
    GONE = 4


class Lines:
    """Events with a serial task queued or begun, and those that wait behind it."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Task] | None] = {}

    def join(self, task: Task) -> bool:
        """True where the armed task may go on, else it waits behind others."""
        if not task.claim.serial:
            return True
        event_id = task.claim.event_id
        if event_id not in self._lines:
            self._lines[event_id] = None
            return True
        line = self._lines[event_id]
        if line is None:
            line = self._lines[event_id] = deque()
        line.append(task)
        return False

    def leave(self, task: Task) -> Task | None:
        """A task is about to leave, in whatever state; the one that goes on in its place, if any.

        It is ``QUEUED`` now: the caller hands it over.
        """
        if not task.claim.serial or task.state not in (State.QUEUED, State.BEGUN):
            return None
        line = self._lines.get(task.claim.event_id)
        while line:
            following = line.popleft()
            if following.state == State.ARMED:
                following.state = State.QUEUED
                return following
        del self._lines[task.claim.event_id]
        return None
