"""What is due, what runs, and how it ends: the half of the reference that time drives."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

from tests.model.parts import LATE, QUEUEING, TIMED_OUT, US, Ending, Event, Run, Script

from kalends.policies import Policies

__all__ = ["Deciding"]


class Deciding:
    """The model. ``limits`` are the named limits; ``script`` says how attempts go."""

    def __init__(self, start: int, script: Script, limits: dict[str, int]) -> None:
        self.mono = 0
        self._shift = start
        self._script = script
        self._limits = limits
        self.events: dict[str, Event] = {}
        self.up = True
        self._ends: list[tuple[int, int, Run, int, Ending]] = []
        self._serial = itertools.count()
        self._begun = 0
        """Counts what was begun or decided."""

    @property
    def now(self) -> int:
        return self.mono + self._shift

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
            walls += [run.ready_at for run in event.open if not run.held]
        found += [wall - self._shift for wall in walls if wall > self.now]
        return min((at for at in found if at > self.mono), default=None)

    def settle(self) -> None:
        """Everything that happens now."""
        while self.up and (self._end_jobs() or self._end_pauses() or self._look()):
            continue

    def _end_jobs(self) -> bool:
        ended = False
        while self._ends and self._ends[0][0] <= self.mono:
            _, _, run, attempt, ending = heapq.heappop(self._ends)
            if not run.over and run.held and run.attempt == attempt:
                self._ended(run, ending)
                ended = True
        return ended

    def _end_pauses(self) -> bool:
        ended = False
        for event in self.events.values():
            until = event.paused_until
            if event.status == "paused" and until is not None and until <= self.now:
                self._resume(event, until - 1)
                ended = True
        return ended

    # -- what is due ---------------------------------------------------------------------------

    def _look(self) -> bool:
        """Begin what waits and decide on what is due; True where that changed anything.

        First what waits without a limit, then what a limit counts, whether it waits or is due:
        higher priority first, then what has waited longest; then all else that is due.
        """
        before = self._begun
        ready = sorted(self._heads(), key=lambda run: (-run.event.policies.priority, run.ready_at))
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
                else:
                    self._decide(one)
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
        if not run.over and (room is None or room > 0):
            self._begin(run)

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
        self._tell(event, rest, reason)
        if busy:
            for other in event.busy:
                other.end("cancelled", "overlap")
        at_once = len(run) if overlap == "allow_all" else 1
        if overlap == "allow_all" and room is not None:
            at_once = room
        self._add(event, run, at_once)

    def _tell(self, event: Event, instants: list[int], reason: str) -> None:
        for instant in instants:
            event.told[instant] = ("skipped", reason)

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
        self._tell(event, rest, reason if refused and why == "coalesced" else why)
        self._tell(event, refused, reason)
        self._add(event, wait, 0 if held or waiting else 1)

    def _add(self, event: Event, run: list[int], at_once: int) -> None:
        """Executions, the first so many of which begin now."""
        for place, instant in enumerate(run):
            event.runs.append(Run(event, instant, ready_at=instant))
            if place < at_once:
                self._begin(event.runs[-1])

    def _cancel(self, event: Event) -> None:
        """Tell what runs to stop; what waits makes way, but what was moved or is of a backfill."""
        for other in event.waiting:
            other.end("skipped", "overlap")
        for other in event.busy:
            if other.held:
                other.told = True
            else:
                other.end("cancelled", "overlap")

    # -- attempts ------------------------------------------------------------------------------

    def _begin(self, run: Run) -> None:
        self._begun += 1
        run.held, run.limit = True, run.event.policies.concurrency_limit
        run.attempt += 1
        ending = self._script(run.event.name, run.due, run.attempt)
        after, timeout = ending.after, run.event.policies.timeout
        if timeout is not None and round(timeout * US) < after:
            ending = Ending(round(timeout * US), "timeout", error=TIMED_OUT)
        at = self.mono + ending.after
        heapq.heappush(self._ends, (at, next(self._serial), run, run.attempt, ending))

    def _ended(self, run: Run, ending: Ending) -> None:
        policies = run.event.policies
        once = policies.delivery == "at_most_once"
        if ending.kind == "ok":
            run.end("succeeded")
        elif run.told and ending.kind != "timeout":
            run.end("cancelled", "overlap")
        elif ending.kind == "cancel" or (ending.kind == "snooze" and run.event.status == "deleted"):
            run.end("cancelled")
        elif ending.kind == "snooze" and not once:
            run.attempts.append("cancelled")
            assert ending.delay is not None
            run.wait(self.now + ending.delay)
        else:
            self._failed(run, ending)
        run.ended = self.now
        if run.fate in ("failed", "timed_out"):
            self._count_failures(run.event)

    def _failed(self, run: Run, ending: Ending) -> None:
        policies = run.event.policies
        outcome = "timed_out" if ending.kind == "timeout" else "failed"
        failures = sum(told in ("failed", "timed_out") for told in run.attempts) + 1
        asked = ending.kind == "retry"
        allowed = max(policies.retries, policies.max_attempts - 1) if asked else policies.retries
        wanted = asked or (
            policies.retries > 0
            and (not policies.retry_on or bool(set(policies.retry_on) & set(ending.error)))
            and not set(policies.give_up_on) & set(ending.error)
        )
        if policies.delivery == "at_most_once" or run.event.status == "deleted" or run.told:
            wanted = False
        if wanted and failures <= allowed:
            run.attempts.append(outcome)
            delay = ending.delay
            run.wait(self.now + (self._delay(policies, failures) if delay is None else delay))
        else:
            run.end(outcome, "exhausted" if wanted else None)

    def _delay(self, policies: Policies, failures: int) -> int:
        factor: dict[str, int] = {
            "constant": 1, "linear": failures, "exponential": 2 ** (failures - 1)
        }  # fmt: skip
        seconds = policies.retry_delay * factor[policies.retry_backoff]
        return round(min(seconds, policies.retry_max_delay) * US)

    def _count_failures(self, event: Event) -> None:
        most = event.policies.pause_after_failures
        if most is None or event.status != "active":
            return
        failed = 0
        for run in sorted(event.runs, key=lambda run: -run.due):
            if run.over and run.ended > event.streak_since and run.fate != "cancelled":
                if run.fate == "succeeded":
                    break
                failed += run.fate != "skipped"
        if failed >= most:
            event.status, event.paused_until = "paused", None
            self._park(event, "paused")

    # -- parked ------------------------------------------------------------------------------------

    def _park(self, event: Event, reason: str) -> None:
        """Nothing waits any more, but what was moved ahead or is of a backfill: that may return."""
        for run in event.open:
            ahead = run.batch is not None or (run.moved_to or 0) > self.now
            if not run.held and not run.attempt and (reason == "deleted" or not ahead):
                run.end("skipped", reason)

    def _resume(self, event: Event, until: int) -> None:
        """Skip what was due up to ``until``, inclusive, and look at the event again."""
        event.status, event.paused_until, event.streak_since = "active", None, self.now
        self._skip(event, until, "paused")
        for run in event.open:
            if not run.held and not run.attempt and 0 < (run.moved_to or 0) <= until:
                run.end("skipped", "paused")
        if event.next_due is None:
            event.status = "completed"

    def _skip(self, event: Event, until: int, reason: str) -> None:
        while event.next_due is not None and event.next_due <= until:
            event.told[event.next_due] = ("skipped", reason)
            event.next_due = event.trigger.next_us(event.next_due)
