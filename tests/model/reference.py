"""A scheduler on one page: what the ledger has to say, from the rules of the documentation alone.

Pure Python over lists: it looks at every instant one by one, keeps everything, and knows no actor,
database, thread, span or claim. Time is in microseconds; ``now`` is the wall clock, which jumps,
``mono`` the time that really passes. What is due at one moment is settled before time goes on.
"""

from __future__ import annotations

from tests.model.deciding import Deciding
from tests.model.parts import QUEUEING, Event, Run

from kalends.policies import Policies
from kalends.triggers import Trigger

__all__ = ["Reference"]


class Reference(Deciding):
    """The model: what may be done to a schedule, and what its ledger says then."""

    # -- processes and time itself -------------------------------------------------------------

    def kill(self) -> None:
        """The process is gone; nobody is told."""
        self.up = False
        self._ends.clear()

    def shut_down(self) -> None:
        """The process ends at once, in order: what ran is given up."""
        self.kill()
        for event in self.events.values():
            self._give_up(event)

    def start(self) -> None:
        """Another process: what the last one ran is attempted again, or lost."""
        self.up = True
        for event in self.events.values():
            self._give_up(event)
        self.settle()

    def _give_up(self, event: Event) -> None:
        for run in event.open:
            if run.held:
                self._lose(run)

    def _lose(self, run: Run) -> None:
        policies = run.event.policies
        lost = run.attempts.count("lost") + 1
        again = policies.delivery == "at_least_once" and lost < policies.max_attempts
        run.ended = self.now
        if run.told:
            run.end("cancelled", "overlap")
        elif again and run.event.status != "deleted":
            run.attempts.append("lost")
            run.wait(run.ready_at)
        else:
            run.end("lost", "process_died")
            self._count_failures(run.event)

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
            assert due is not None
            since = due
        self.events[name] = Event(name, trigger, policies, since, due)
        self.settle()

    def pause(self, name: str, until: int | None = None) -> None:
        event = self.events[name]
        if event.status in ("active", "paused"):
            event.status, event.paused_until = "paused", until
            self._park(event, "paused")
        self.settle()

    def resume(self, name: str) -> None:
        event = self.events[name]
        if event.status == "paused":
            until = event.paused_until
            self._resume(event, self.now if until is None else min(self.now, until - 1))
        self.settle()

    def delete(self, name: str) -> None:
        event = self.events[name]
        if event.status != "deleted":
            reason = "paused" if event.status == "paused" else "deleted"
            event.status = "deleted"
            self._undo(event)
            self._park(event, "deleted")
            for run in event.open:
                if not run.held:
                    run.end("lost", "process_died")
            self._skip(event, max(self.now, event.last_told()), reason)
            event.next_due = None
        self.settle()

    def reschedule(self, name: str, trigger: Trigger) -> None:
        event = self.events[name]
        if event.status == "deleted":
            return
        trigger = trigger.anchored(self.now)
        if trigger == event.trigger:
            return
        before = event.next_due, dict(event.told), list(event.runs)
        self._undo(event)
        told = event.last_told()
        closing = max(self.now, told)
        due = trigger.next_us(closing)
        if due is None:  # a rule of one instant that has passed is late, any other is refused
            due = trigger.previous_us(closing + 1)
            if due is None or due <= told or trigger.previous_us(due) is not None:
                event.next_due, event.told, event.runs = before
                return
            closing = due - 1
        reason = "paused" if event.status == "paused" else "superseded"
        self._skip(event, closing, reason)
        event.trigger, event.since, event.next_due = trigger, closing + 1, due
        if event.status == "completed":
            event.status = "active"
        self.settle()

    def skip_next(self, name: str, count: int) -> None:
        event = self.events[name]
        if event.status == "active":
            for _ in range(count):
                if event.next_due is not None:
                    event.told[event.next_due] = ("skipped", "excluded_once")
                    self._pass_over(event)
        self.settle()

    def move_next(self, name: str, to: int) -> None:
        event = self.events[name]
        if event.status == "active" and event.next_due is not None:
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
            + [due for due, (_, reason) in event.told.items() if reason != "excluded_once"]
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
            if run.held or run.attempt or run.over:
                run.manual = True
            else:
                event.runs.remove(run)
        if left_out or moved:
            event.next_due = event.trigger.next_us(firm)

    def set_policies(self, name: str, policies: Policies) -> None:
        self.events[name].policies = policies
        self.settle()

    def trigger_now(self, name: str) -> None:
        """One execution outside of the rule: the overlap policy decides as it does of others."""
        event = self.events[name]
        if event.status != "deleted":
            run = Run(event, self.now, manual=True, ready_at=self.now)
            self._ask(event, run)
            event.runs.append(run)
        self.settle()

    def _ask(self, event: Event, run: Run) -> None:
        overlap, held, room = event.policies.overlap, event.held, self._room(event)
        mine = any(other.limit == event.policies.concurrency_limit for other in held)
        if room is not None and room <= 0 and (not mine or overlap == "allow_all"):
            return  # it waits for a place
        waiting = event.waiting if overlap in QUEUEING else []
        if overlap == "allow_all" or not (event.busy or waiting):
            self._begin(run)
        elif overlap == "skip":
            run.end("skipped", "overlap")
        elif overlap == "terminate_other":
            for other in event.busy:
                other.end("cancelled", "overlap")
            self._begin(run)
        elif overlap == "buffer_one" and waiting:
            run.end("skipped", "overlap")
        elif overlap == "buffer_all" and len(waiting) >= event.policies.buffer_limit:
            run.end("skipped", "queue_full")
        else:
            if overlap == "cancel_other":
                self._cancel(event)
            if not held and (overlap == "cancel_other" or not waiting):
                self._begin(run)

    # -- the ledger ----------------------------------------------------------------------------

    def ledger(self, name: str) -> dict[int, tuple[str, str | None]]:
        """Every instant of the event's rules, with its fate and the reason."""
        event = self.events[name]
        runs = {run.due: (run.fate, run.reason) for run in event.runs if not run.manual}
        assert not set(runs) & set(event.told)
        return dict(sorted({**event.told, **runs}.items()))

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
