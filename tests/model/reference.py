"""A scheduler on one page: what the ledger has to say, from the rules of the documentation alone.

Pure Python over lists: it looks at every instant one by one, keeps everything, and knows no actor,
database, thread, span or claim. Time is in microseconds; ``now`` is the wall clock, which jumps,
``mono`` the time that really passes. What is due at one moment is settled before time goes on.

While no process is ``up``, verbs still change the schedule: somebody opens the database to do so.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from tests.model.backfilling import Backfilling
from tests.model.parts import QUEUEING, Event, Run, Told

from kalends.policies import Policies
from kalends.triggers import Trigger

__all__ = ["Reference"]


class Reference(Backfilling):
    """The model: what may be done to a schedule, and what its ledger says then."""

    # -- processes and time itself -------------------------------------------------------------

    def kill(self) -> None:
        """The process is gone; nobody is told."""
        self.up = False
        self._ends.clear()
        self._refused.clear()

    def crash(self, when: str, verb: Callable[[], object]) -> None:
        """The process is killed ``before`` a verb is durable, or ``after``: then nobody acts on it
        before the next process does.
        """
        if when == "after":
            self.still = True
            verb()
            self.still = False
        self.kill()

    def shut_down(self) -> None:
        """The process ends at once, in order: what ran is given up."""
        self.kill()
        for event in self.events.values():
            self._give_back(event)
            self._give_up(event)

    def start(self) -> None:
        """Another process: what the last one ran is attempted again, or lost."""
        self.up = True
        for event in self.events.values():
            self._give_up(event)
        self.settle()

    def _give_up(self, event: Event) -> None:
        held = event.held
        for run in held:
            if run.armed and run.ready_at > self.now:
                self._give_back_one(run)  # the clock was set back: its time has not come
            else:
                self._lose(run)
        if any(run.fate == "lost" for run in held):
            self._count_failures(event)

    def _lose(self, run: Run) -> None:
        policies = run.event.policies
        lost = run.attempts.count("lost") + 1
        again = policies.delivery == "at_least_once" and lost < policies.max_attempts
        run.ended = self.now
        if run.told is not None:
            run.end("cancelled", run.told)
        elif again and run.event.status != "deleted":
            run.attempts.append("lost")
            run.wait(run.ready_at)
        else:
            run.end("lost", "process_died")

    def jump(self, us: int) -> None:
        """The wall clock is set; no time passes."""
        self._shift += us
        self.settle()

    # -- verbs ---------------------------------------------------------------------------------

    def create(self, name: str, trigger: Trigger, policies: Policies) -> None:
        now = self.now
        trigger = trigger.anchored(now)
        since, due = now + 1, trigger.next_us(now)
        if due is None:
            due = trigger.previous_us(now + 1)
            if due is None or trigger.previous_us(due) is not None:
                return  # a rule of several instants that have all passed is refused
            since = due
        event_id = self._ids.get(name, name)
        self.events[name] = Event(name, event_id, trigger, policies, since, due, since)
        self.settle()

    def pause(self, name: str, until: int | None = None) -> None:
        event = self._changing(name)
        if event.status in ("active", "paused"):
            self._take_back(event)
            event.status, event.paused_until = "paused", until
            self._park(event, "paused")
        self.settle()

    def resume(self, name: str) -> None:
        event = self.events[name]
        if event.status == "paused":
            until = event.paused_until
            closing = self.now if until is None else min(self.now, until - 1)
            self._return(event, closing, "paused")
        self.settle()

    def release(self, name: str) -> None:
        event = self._changing(name)
        if event.status == "quarantined":
            self._return(event, self.now, "quarantined")
        self.settle()

    def delete(self, name: str) -> None:
        event = self._changing(name)
        if event.status != "deleted":
            self._take_back(event)
            reason = "paused" if event.status == "paused" else "deleted"
            event.status = "deleted"
            self._undo(event)
            self._park(event, "deleted")
            for run in event.open:
                if not run.held:
                    run.end("lost", "process_died")
            closing = max(self.now, event.last_told())
            self._skip(event, closing, reason)
            event.close(closing)
            event.next_due = None
        self.settle()

    def reschedule(self, name: str, trigger: Trigger) -> None:
        event = self._changing(name)
        # What is refused changes nothing, not even what was claimed.
        if event.status != "deleted" and self._reschedule(copy.deepcopy(event), trigger):
            self._reschedule(event, trigger)
        self.settle()

    def _reschedule(self, event: Event, trigger: Trigger) -> bool:
        trigger = trigger.anchored(self.now)
        self._take_back(event)
        if trigger == event.trigger:
            return True
        self._undo(event)
        told = event.last_told()
        closing = max(self.now, told)
        due = trigger.next_us(closing)
        if due is None:  # a rule of one instant that has passed is late, any other is refused
            due = trigger.previous_us(closing + 1)
            if due is None or due <= told or trigger.previous_us(due) is not None:
                return False
            closing = due - 1
        reason = "paused" if event.status == "paused" else "superseded"
        self._skip(event, closing, reason)
        event.close(closing)
        event.trigger, event.next_due = trigger, due
        if event.status in ("completed", "quarantined"):
            event.status = "active"
        return True

    def skip_next(self, name: str, count: int) -> None:
        event = self._changing(name)
        if event.status == "active":
            self._take_back(event)
            for _ in range(count):
                if event.next_due is not None:
                    event.told[event.next_due] = Told("excluded_once")
                    self._pass_over(event)
        self.settle()

    def move_next(self, name: str, to: int) -> None:
        event = self._changing(name)
        if event.status == "active":
            self._take_back(event)
            assert event.next_due is not None
            event.runs.append(Run(event, event.next_due, moved_to=to, ready_at=to))
            self._pass_over(event)
        self.settle()

    def _pass_over(self, event: Event) -> None:
        assert event.next_due is not None
        event.next_due = event.trigger.next_us(event.next_due)
        if event.next_due is None:
            event.status = "completed"

    def _undo(self, event: Event) -> None:
        """What was told of the future goes with the rule: it was not due yet."""
        firm = max(
            [self.now, event.since - 1]
            + [due for due, told in event.told.items() if told.reason != "excluded_once"]
            + [run.due for run in event.runs if not run.manual and run.moved_to is None]
        )
        left_out = [due for due in event.told if due > firm]
        moved = [
            run
            for run in event.runs
            if run.moved_to is not None and run.due > firm and not run.manual
        ]
        for due in left_out:
            del event.told[due]
        for run in moved:
            if run.attempt:
                run.manual = True
            else:
                event.runs.remove(run)
        if left_out or moved:
            event.next_due = event.trigger.next_us(firm)

    def cancel_execution(self, name: str, place: int) -> None:
        """End one of its open executions, or tell its job to stop."""
        line = sorted(self.events[name].open, key=lambda run: run.due)
        if line:
            run = line[place % len(line)]
            if run.begun or (run.held and not self.up):
                run.told = "requested"
            else:
                run.end("cancelled", "requested")
        self.settle()

    def set_policies(self, name: str, policies: Policies) -> None:
        event = self._changing(name)
        if event.status != "deleted":
            self._take_back(event)
            event.policies = policies
        self.settle()

    def trigger_now(self, name: str, overlap: str | None = None) -> None:
        """One execution outside of the rule: the overlap policy decides as it does of others."""
        event = self.events[name]
        own = event.policies.overlap
        refused = own == "allow_all" and overlap in QUEUEING
        if event.status not in ("deleted", "quarantined") and not refused:
            run = Run(event, self.now, manual=True, ready_at=self.now)
            event.runs.append(run)
            self._ask(event, run, own if overlap is None else overlap)
        self.settle()

    def _ask(self, event: Event, run: Run, overlap: str) -> None:
        held, room = event.held, self._room(event)
        mine = any(other.limit == event.policies.concurrency_limit for other in held)
        if room is not None and room <= 0 and (not mine or overlap == "allow_all"):
            return  # it waits for a place
        others = [other for other in event.busy if other is not run]
        waiting = [other for other in event.waiting if other is not run and overlap in QUEUEING]
        if overlap == "allow_all" or not (others or waiting):
            self._claim(run)
        elif overlap == "skip":
            run.end("skipped", "overlap")
        elif overlap == "terminate_other":
            for other in others:
                other.end("cancelled", "overlap")
            self._claim(run)
        elif overlap == "buffer_one" and waiting:
            run.end("skipped", "overlap")
        elif overlap == "buffer_all" and len(waiting) >= event.policies.buffer_limit:
            run.end("skipped", "queue_full")
        else:
            if overlap == "cancel_other":
                event.runs.remove(run)
                self._cancel(event)
                event.runs.append(run)
            if not held and (overlap == "cancel_other" or not waiting):
                self._claim(run)

    # -- the ledger ----------------------------------------------------------------------------

    def ledger(self, name: str) -> dict[int, tuple[str, str | None]]:
        """Every instant of the event's rules, with its fate and the reason."""
        event = self.events[name]
        runs = {run.due: (run.fate, run.reason) for run in event.runs if not run.manual}
        assert not set(runs) & set(event.told)
        told = {due: ("skipped", told.reason) for due, told in event.told.items()}
        return dict(sorted({**told, **runs}.items()))

    def attempts(self, name: str) -> dict[int, list[str]]:
        """The outcome of each attempt at each instant that was begun."""
        return {
            run.due: run.attempts + (["pending"] if run.held else [])
            for run in self.events[name].runs
            if not run.manual and run.attempt
        }

    def manual(self, name: str) -> list[tuple[str, str | None]]:
        """The fates of what was asked for outside of the rule."""
        return [(run.fate, run.reason) for run in self.events[name].runs if run.manual]
