"""What a runner has: claims on their way to their jobs, and jobs that run.

Promises: a task is in exactly one state, from its claim to its end; what leaves, in whatever way,
makes room for the one behind it in the line of its event. Nothing here takes a lock: the runner
calls under its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable

import msgspec

from kalends.clock import US, Clock
from kalends.jobs.agenda import Agenda
from kalends.jobs.executors.base import Task
from kalends.jobs.lines import Lines, State
from kalends.model import Reason
from kalends.work import Begun, Claim, Outcome, Told

__all__ = ["Holdings"]


class Holdings:
    """The tasks of a runner, by state."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.agenda = Agenda(clock)
        self.live: dict[tuple[str, int], Task] = {}
        """Armed, queued or begun."""
        self.begun: dict[tuple[str, int], Task] = {}
        self.late: dict[tuple[str, int], Task] = {}
        """What was written off and still runs."""
        self._importing: set[tuple[str, int]] = set()
        """Of these, what was written off before it began."""
        self._disarmed: set[tuple[str, int]] = set()
        self._lines = Lines()
        self._fresh = False
        """Whether something has begun since ``newly_begun`` was last called, and may run."""

    # -- coming and going ----------------------------------------------------------------------

    def arm(self, task: Task) -> None:
        """Take a claim; it begins at its instant."""
        self.live[task.key] = task
        self.agenda.arm(task)

    def take_due(self) -> list[Task]:
        """The tasks whose instant has come and who are first in their lines: queued now."""
        ready = [task for task in self.agenda.take_due() if self._lines.join(task)]
        for task in ready:
            task.state = State.QUEUED
        return ready

    def begin(self, task: Task, now: int) -> bool:
        """The job of a queued task begins; True where it is the first since ``newly_begun``."""
        task.state = State.BEGUN
        task.started_us = now
        self.begun[task.key] = task
        self._limit(task, now)
        first, self._fresh = not self._fresh, True
        return first

    def importing(self, task: Task, now: int) -> None:
        """The job of a queued task is imported first: what it may take begins with that."""
        if task.state == State.QUEUED:
            self._limit(task, now)

    def _limit(self, task: Task, now: int) -> None:
        timeout_us = task.claim.timeout_us
        if timeout_us is not None and task.deadline_us is None:
            task.deadline_us = now + timeout_us
            task.stops_at = self._clock.monotonic() + timeout_us / US
            self.agenda.limit(task, timeout_us)

    def remove(self, task: Task, state: State = State.GONE) -> Task | None:
        """Forget a task; the one that may go on in its place, if any."""
        following = self._lines.leave(task)
        task.withdrawn = task.state in (State.ARMED, State.QUEUED)
        task.state = state
        self.live.pop(task.key, None)
        self.begun.pop(task.key, None)
        self.agenda.lift(task)
        return following

    def let_go(self, task: Task, ended_us: int) -> Task | None:
        """Write off a task that runs; the one that may go on in its place.

        It may have begun after the instant at which the ledger says it ended: no duration is
        negative. Outside of the lock its place is to be freed, and its job to be interrupted.
        """
        task.call_off()
        task.started_us = min(task.started_us, ended_us)
        following = self.remove(task, State.WRITTEN_OFF)
        task.withdrawn = False  # one that is imported still is to say when it does not begin
        self.late[task.key] = task
        return following

    def end_import(self, task: Task, now: int) -> Outcome | None:
        """The late outcome of a task that was written off before it began; None: it was not."""
        if task.key not in self._importing:
            return None
        self._importing.discard(task.key)
        self.late.pop(task.key, None)
        return msgspec.structs.replace(task.unbegun_outcome(now), late=True)

    def abandon(self) -> list[Task]:
        """Listen no more to what runs: all of it, what was written off last."""
        begun, late = list(self.begun.values()), list(self.late.values())
        for task in begun + late:
            task.drop()
        for task in begun:
            self.remove(task)
        for task in late:
            task.state = State.GONE
        self.late.clear()
        self._importing.clear()
        return begun + late

    # -- calling off ---------------------------------------------------------------------------

    def call_off(
        self, execution_ids: Collection[str], grace_us: int, reason: Reason | None
    ) -> tuple[bool, list[Outcome], list[Task | None]]:
        """Whether any of them runs, which is told to stop; the outcomes of the others, which end
        here, and the tasks that may go on in their place.
        """
        found = self.of(execution_ids)
        for task in found:
            if task.state == State.BEGUN and not task.called_off:
                self.agenda.grace(task, grace_us)
            task.call_off()
        unbegun = [task for task in found if task.state != State.BEGUN]
        now = self._clock.now_us()
        outcomes = [task.unbegun_outcome(now, reason=reason) for task in unbegun]
        return len(unbegun) < len(found), outcomes, [self.remove(task) for task in unbegun]

    def time_out(self, now: int) -> tuple[list[Task], list[Outcome], list[Task | None]]:
        """Write off the tasks that take longer than they may, be it that their jobs are still
        imported: their outcomes, and the tasks that may go on in their place.
        """
        overdue = self.agenda.take_overdue()
        for task in overdue:
            if task.state == State.QUEUED:
                assert task.deadline_us is not None, "what is overdue has a deadline"
                assert task.claim.timeout_us is not None, "and a time-out"
                task.started_us = task.deadline_us - task.claim.timeout_us
                self._importing.add(task.key)
        outcomes = [task.overdue_outcome(now) for task in overdue]
        following = [
            self.let_go(task, outcome.ended_us)
            for task, outcome in zip(overdue, outcomes, strict=True)
        ]
        return overdue, outcomes, following

    # -- taking back ---------------------------------------------------------------------------

    def take_back(self, wanted: Callable[[Task], bool] = lambda _: True) -> list[Claim]:
        """The claims of what has not begun, in the order they came; they are here no longer.

        All claims of an event have to go together: nobody moves up in its line.
        """
        waiting = [
            task
            for task in self.live.values()
            if task.state in (State.ARMED, State.QUEUED) and wanted(task)
        ]
        for task in (task for task in waiting if task.state == State.ARMED):
            self.remove(task)
        for task in (task for task in waiting if task.state == State.QUEUED):
            self.remove(task)
        return [task.claim for task in waiting]

    def disarm(self, event_ids: Collection[str]) -> list[Claim]:
        """Take back the claims of events, and count them as held until ``forget`` or ``expect``."""
        wanted = frozenset(event_ids)
        claims = self.take_back(lambda task: task.claim.event_id in wanted)
        self._disarmed.update((claim.id, claim.attempt) for claim in claims)
        return claims

    def forget(self, claims: Iterable[Claim]) -> None:
        """Count them as held no longer."""
        if self._disarmed:
            self._disarmed.difference_update((claim.id, claim.attempt) for claim in claims)

    # -- looking -------------------------------------------------------------------------------

    def holds(self, key: tuple[str, int]) -> bool:
        """Whether this attempt is here, or was disarmed."""
        return key in self.live or key in self._disarmed

    def of(self, execution_ids: Collection[str]) -> list[Task]:
        """What is here of these executions: armed, queued or begun."""
        wanted = frozenset(execution_ids)
        return [task for task in self.live.values() if task.claim.id in wanted]

    def news(self) -> list[tuple[str, int, Told]]:
        """What jobs that run have told since this was last called, by execution and attempt."""
        found = [(*task.key, task.news()) for task in self.begun.values()]
        return [(execution_id, attempt, told) for execution_id, attempt, told in found if told]

    def running(self) -> list[Begun]:
        """The attempts that have begun and not ended."""
        return [task.begun() for task in self.begun.values()]

    def runs(self, execution_id: str) -> bool:
        """Whether a job of this execution runs here, written off or not."""
        tasks = itertools.chain(self.begun.values(), self.late.values())
        return any(task.claim.id == execution_id for task in tasks)

    def rests(self) -> bool:
        """True: ``newly_begun`` has nothing to tell, and the next begin is a first one again."""
        self._fresh = self._fresh and any(not task.reported for task in self.begun.values())
        return not self._fresh

    def newly_begun(self) -> list[Begun]:
        """The attempts that have begun since this was last called and have not ended meanwhile."""
        self._fresh = False
        fresh = [task for task in self.begun.values() if not task.reported]
        for task in fresh:
            task.reported = True
        return [task.begun() for task in fresh]
