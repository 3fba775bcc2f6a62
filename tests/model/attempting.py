"""How executions begin, go and end: the part of the reference that knows attempts."""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Mapping

from tests.model.parts import TIMED_OUT, US, Ending, Event, Run, Script

from kalends.policies import Policies

__all__ = ["Attempting"]


class Attempting:
    """``limits`` are the named limits; ``script`` says how attempts go; ``ids`` are those that
    chance depends on: of events by name, of executions by event and instant.
    """

    def __init__(
        self,
        start: int,
        script: Script,
        limits: dict[str, int],
        ids: Mapping[str | tuple[str, int], str],
    ) -> None:
        self.mono = 0
        self._shift = start
        self._script = script
        self._limits = limits
        self._ids = ids
        self.events: dict[str, Event] = {}
        self.up = True
        self.still = False
        """Nothing happens by itself."""
        self.gone: set[str] = set()
        """The events whose job nobody registers any more."""
        self._ends: list[tuple[int, int, Run, int, Ending]] = []
        self._refused: list[Run] = []
        self._serial = itertools.count()
        self._begun = 0
        """Counts what was begun or decided."""

    @property
    def now(self) -> int:
        return self.mono + self._shift

    # -- beginning -----------------------------------------------------------------------------

    def _claim(self, run: Run) -> None:
        """It begins: now, or when its jitter is over."""
        self._begun += 1
        run.held, run.begun, run.limit = True, False, run.event.policies.concurrency_limit
        run.attempt += 1
        run.begins_at = run.ready_at
        if run.attempt == 1 and not run.manual and run.moved_to is None:
            delay = run.event.trigger.delay_us(run.due, run.event.id)
            run.begins_at = max(run.due + delay, run.ready_at)
        if run.begins_at <= self.now:
            self._begin(run)

    def _begin_armed(self) -> bool:
        found = [
            run
            for event in self.events.values()
            for run in event.armed
            if run.begins_at <= self.now and run not in self._refused
        ]
        for run in sorted(found, key=lambda run: run.begins_at):
            self._begin(run)
        return bool(found)

    def _begin(self, run: Run) -> None:
        if run.event.name in self.gone:
            self._refused.append(run)
            return
        run.begun = True
        ending = self._script(run.event.name, run.due, run.attempt)
        after, timeout = ending.after, run.event.policies.timeout
        if timeout is not None and round(timeout * US) < after:
            ending = Ending(round(timeout * US), "timeout", error=TIMED_OUT)
        at = self.mono + ending.after
        heapq.heappush(self._ends, (at, next(self._serial), run, run.attempt, ending))

    def _refuse(self) -> bool:
        """What cannot be carried out: the event is parked, whatever else was to run."""
        refused = [run for run in self._refused if run.armed]
        self._refused.clear()
        for run in refused:
            run.give_back()
            if not run.attempt and run.batch is None:
                run.end("skipped", "quarantined")
        for event in [run.event for run in refused]:
            if event.status in ("active", "paused", "completed"):
                event.status, event.paused_until = "quarantined", None
                self._give_back(event)
                self._park(event, "quarantined")
        return bool(refused)

    def _take_back(self, event: Event) -> None:
        """Before a change. What a process had claimed that is gone waits for the next one."""
        if self.up:
            self._give_back(event)

    def _give_back(self, event: Event) -> None:
        """What is claimed and has not begun is not claimed any more."""
        for run in sorted(event.armed, key=lambda run: -run.due):
            self._give_back_one(run)

    def _give_back_one(self, run: Run) -> None:
        """An instant is due again where it was the last one that had a fate."""
        event = run.event
        run.give_back()
        asked_for = run.manual or run.moved_to is not None or run.batch is not None
        if (
            not run.attempt
            and not asked_for
            and event.status != "deleted"
            and run.due >= event.since
            and run.due == event.accounted_to()
        ):
            event.runs.remove(run)
            if event.next_due is None or event.next_due > run.due:
                event.next_due = run.due
                if event.status == "completed":
                    event.status = "active"

    # -- ending --------------------------------------------------------------------------------

    def _end_jobs(self) -> bool:
        ended = False
        while self._ends and self._ends[0][0] <= self.mono:
            _, _, run, attempt, ending = heapq.heappop(self._ends)
            if run.begun and run.attempt == attempt:
                self._ended(run, ending)
                ended = True
        return ended

    def _ended(self, run: Run, ending: Ending) -> None:
        policies = run.event.policies
        once = policies.delivery == "at_most_once"
        if ending.kind == "ok":
            run.end("succeeded")
        elif run.told is not None and ending.kind != "timeout":
            run.end("cancelled", run.told)
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
        if (
            policies.delivery == "at_most_once"
            or run.event.status == "deleted"
            or run.told is not None
        ):
            wanted = False
        if wanted and failures <= allowed:
            run.attempts.append(outcome)
            delay = ending.delay
            run.wait(self.now + (self._delay(run, failures) if delay is None else delay))
        else:
            run.end(outcome, "exhausted" if wanted else None)

    def _delay(self, run: Run, failures: int) -> int:
        policies = run.event.policies
        factor: dict[str, int] = {
            "constant": 1, "linear": failures, "exponential": 2 ** (failures - 1)
        }  # fmt: skip
        seconds = policies.retry_delay * factor[policies.retry_backoff]
        longest = round(min(seconds, policies.retry_max_delay) * US)
        return longest - self._drawn(run, policies, longest)

    def _drawn(self, run: Run, policies: Policies, longest: int) -> int:
        """How much shorter a delay is, by the execution's id and the attempt."""
        width = round(longest * policies.retry_jitter)
        seed = f"{self._ids.get((run.event.name, run.due))}\n{run.attempt}".encode()
        drawn = int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest(), "big")
        return drawn * width >> 64

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
            self._give_back(event)
            self._park(event, "paused")

    # -- parked --------------------------------------------------------------------------------

    def _park(self, event: Event, reason: str) -> None:
        """Nothing waits any more, but what was moved ahead or is of a backfill: that may return."""
        for run in event.open:
            ahead = run.batch is not None or (run.moved_to or 0) > self.now
            if not run.held and not run.attempt and (reason == "deleted" or not ahead):
                run.end("skipped", reason)
