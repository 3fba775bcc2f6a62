"""What is due, and what becomes of it: the half of the reference that time drives."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.attempting import Attempting
from tests.model.parts import LATE, QUEUEING, US, Event, Run, Told

from kalends.policies import Policies

__all__ = ["Deciding"]


class Deciding(Attempting):
    """Time passes, and every instant that comes gets its fate."""

    # -- time ----------------------------------------------------------------------------------

    def advance_to(self, mono: int) -> None:
        """Let time pass, one moment after the other."""
        self.settle()
        while True:
            moment = self._next_moment()
            if moment is None or moment > mono:
                break
            self.mono = max(self.mono, moment)
            self.settle()
        self.mono = mono
        self.settle()

    def _next_moment(self) -> int | None:
        if not self.up:
            return None
        found = [at for at, *_ in self._ends]
        walls: list[int] = []
        for event in self.events.values():
            if event.status == "active" and event.next_due is not None:
                walls.append(event.next_due)
            if event.status == "paused" and event.paused_until is not None:
                walls.append(event.paused_until)
            walls += [run.begins_at if run.held else run.ready_at for run in event.open]
        found += [wall - self._shift for wall in walls if wall > self.now]
        return min((at for at in found if at > self.mono), default=None)

    def settle(self) -> None:
        """Everything that happens now."""
        while self.up and not self.still and self._anything():
            continue

    def _anything(self) -> bool:
        return (
            self._end_jobs()
            or self._begin_armed()
            or self._refuse()
            or self._end_pauses()
            or self._look()
        )

    def _end_pauses(self) -> bool:
        ended = [event for event in self.events.values() if self._end_pause(event)]
        return bool(ended)

    def _end_pause(self, event: Event) -> bool:
        """A pause that has come to its end is over, whenever it is that somebody looks."""
        until = event.paused_until
        if event.status != "paused" or until is None or until > self.now:
            return False
        self._return(event, until - 1, "paused")
        return True

    def _return(self, event: Event, until: int, reason: str) -> None:
        """Skip what was due up to ``until``, inclusive, and look at the event again."""
        event.status, event.paused_until = "active", None
        if reason == "paused":
            event.streak_since = self.now
        self._skip(event, until, reason)
        for run in event.open:
            if not run.held and not run.attempt and 0 < (run.moved_to or 0) <= until:
                run.end("skipped", reason)
        if event.next_due is None:
            event.status = "completed"

    def _skip(self, event: Event, until: int, reason: str) -> None:
        while event.next_due is not None and event.next_due <= until:
            event.told[event.next_due] = Told(reason)
            event.next_due = event.trigger.next_us(event.next_due)

    # -- what is due ---------------------------------------------------------------------------

    def _look(self) -> bool:
        """Begin what waits and decide on what is due; True where that changed anything.

        First what waits without a limit, then what a limit counts, whether it waits or is due:
        higher priority first, then what has waited longest; then all else that is due.
        """
        before = self._begun
        ready = sorted(
            self._heads(), key=lambda run: (-run.event.policies.priority, run.ready_at, run.due)
        )
        for run in ready:
            if run.event.policies.concurrency_limit is None:
                self._take(run)
        for name in self._limits:
            shared: list[tuple[int, int, Run | Event]] = [
                (-run.event.policies.priority, run.ready_at, run)
                for run in ready
                if run.event.policies.concurrency_limit == name
            ]
            for event in self._due_events():
                if event.policies.concurrency_limit == name:
                    assert event.next_due is not None
                    shared.append((-event.policies.priority, event.next_due, event))
            for _, _, one in sorted(shared, key=lambda item: item[:2]):
                if isinstance(one, Run):
                    self._take(one)
                    continue
                decided = self._begun
                self._decide(one)
                if one.policies.overlap == "cancel_other" and self._begun != decided:
                    return True  # what was to make way for it may be the first in line now
        for event in self._due_events():
            if event.policies.concurrency_limit is None:
                self._decide(event)
        return self._begun != before

    def _due_events(self) -> list[Event]:
        due = [
            event
            for event in self.events.values()
            if event.status == "active"
            and event.next_due is not None
            and event.next_due <= self.now
        ]
        return sorted(due, key=lambda event: event.next_due or 0)

    def _heads(self) -> Iterator[Run]:
        """What waits and may begin now: of an event that runs one at a time, the first in line."""
        for event in self.events.values():
            line = [run for run in event.open if not run.held and run.ready_at <= self.now]
            line.sort(key=lambda run: (run.ready_at, run.due))
            if event.policies.overlap != "allow_all":
                line = [] if event.held else line[:1]
            makes_way = event.policies.overlap == "cancel_other" and event in self._due_events()
            if event.status in ("active", "completed") and not makes_way:
                yield from line

    def _take(self, run: Run) -> None:
        room = self._room(run.event)
        turn = run.event.policies.overlap == "allow_all" or not run.event.held
        if not run.over and turn and (room is None or room > 0):
            self._claim(run)

    def _room(self, event: Event) -> int | None:
        """How many more the limit of the event lets run; None: it has none."""
        name = event.policies.concurrency_limit
        if name is None:
            return None
        return self._limits[name] - sum(
            run.limit == name for other in self.events.values() for run in other.held
        )

    def _decide(self, event: Event) -> None:
        """The fate of every instant of the event up to now, where there is room to decide on it."""
        policies, now, room = event.policies, self.now, self._room(event)
        overlap, held = policies.overlap, event.held
        mine = any(run.limit == policies.concurrency_limit for run in held)
        if room is not None and room <= 0 and (not mine or overlap == "allow_all"):
            return
        self._begun += 1
        assert event.next_due is not None
        instants = list(event.trigger.between_us(event.next_due, now + 1))
        following = event.trigger.next_us(instants[-1])
        event.next_due = following
        if following is None:
            event.status = "completed"
        reach = LATE if policies.catch_up == "skip" else round(policies.catch_up_window * US)
        left = [instant for instant in instants if instant >= now - reach]
        self._tell(event, instants[: len(instants) - len(left)], "missed")
        if not left:
            return
        busy = overlap != "allow_all" and bool(event.busy)
        if overlap in QUEUEING:
            busy = busy or bool(event.waiting)
        if busy and overlap == "skip":
            self._tell(event, left, "overlap")
            return
        run, rest, reason = self._catch_up(event.policies, left)
        if busy and overlap != "terminate_other":
            self._queue(event, run, rest, reason)
            return
        self._tell(event, rest, reason, run[0])
        if busy:
            for other in event.busy:
                other.end("cancelled", "overlap")
        at_once = len(run) if overlap == "allow_all" else 1
        if overlap == "allow_all" and room is not None:
            at_once = room
        self._add(event, run, at_once)

    def _tell(self, event: Event, instants: list[int], reason: str, into: int = 0) -> None:
        for instant in instants:
            event.told[instant] = Told(
                reason, into if reason == "coalesced" else None, event.policies
            )

    @staticmethod
    def _catch_up(policies: Policies, left: list[int]) -> tuple[list[int], list[int], str]:
        """Which of several instants are to run, the others, and why those are not."""
        if policies.catch_up == "all":
            run, reason = left[-policies.catch_up_limit :], "missed"
        else:
            first = policies.catch_up == "earliest"
            run, reason = (left[:1] if first else left[-1:]), "coalesced"
        return run, [instant for instant in left if instant not in run], reason

    def _queue(self, event: Event, run: list[int], rest: list[int], why: str) -> None:
        """The event is busy: what is to run waits, as far as the overlap policy has places."""
        overlap, waiting, held = event.policies.overlap, len(event.waiting), bool(event.held)
        reason = "queue_full" if overlap == "buffer_all" else "overlap"
        if overlap == "cancel_other":
            wait, refused = run[-1:], run[:-1]
            self._cancel(event)
            waiting = 0
        else:
            places = event.policies.buffer_limit if overlap == "buffer_all" else 1
            wait, refused = run[: max(0, places - waiting)], run[max(0, places - waiting) :]
        # Where what was to run for others does not run, all share its fate.
        self._tell(event, rest, reason if refused and why == "coalesced" else why, run[0])
        self._tell(event, refused, reason)
        self._add(event, wait, 0 if held or waiting else 1)

    def _add(self, event: Event, run: list[int], at_once: int) -> None:
        """Executions, the first so many of which are claimed now."""
        for place, instant in enumerate(run):
            event.runs.append(Run(event, instant, ready_at=instant))
            if place < at_once:
                self._claim(event.runs[-1])

    def _cancel(self, event: Event) -> None:
        """Tell what runs to stop; what waits makes way, but what was moved or is of a backfill."""
        for other in event.waiting:
            other.end("skipped", "overlap")
        for other in event.busy:
            if other.begun:
                other.told = other.told or "overlap"
            else:
                other.end("cancelled", "overlap")
