"""Backfills in the reference: past instants that have not run are to run after all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.deciding import Deciding
from tests.model.parts import Event, Run

__all__ = ["Backfilling", "Plan"]


@dataclass
class Plan:
    """What a backfill was to do."""

    event: Event
    planned: int = 0
    existing: int = 0
    remaining: int = 0
    resume_from: int | None = None

    def leave(self, instant: int) -> None:
        """For another call."""
        self.remaining += 1
        if self.resume_from is None:
            self.resume_from = instant


class Backfilling(Deciding):
    """``backfills`` are those that were not refused, in the order they were asked for."""

    backfills: list[Plan] = []  # noqa: RUF012

    def backfill(self, name: str, start: int, end: int, limit: int) -> None:
        """Give the instants in ``start <= instant < end`` that have not run an execution each."""
        event = self._changing(name)
        if event.status in ("active", "paused", "completed") and start < end <= self.now:
            plan = Plan(event)
            self.backfills = [*self.backfills, plan]
            if event.status == "paused":
                self._skip(event, start - 1, "paused")
            self._carry_out(plan, start, list(event.instants(start, end)), limit)
        self.settle()

    def _carry_out(self, plan: Plan, start: int, instants: list[int], limit: int) -> None:
        event, undecided = plan.event, plan.event.next_due
        for instant, run in list(self._not_run(event, instants)):
            ahead = undecided is not None and instant >= undecided
            behind = ahead and undecided is not None and undecided < start
            if behind or plan.planned == limit or plan.resume_from is not None:
                plan.leave(instant)
                continue
            plan.planned += 1
            event.told.pop(instant, None)
            if run is not None:
                event.runs.remove(run)
            if ahead:
                event.next_due = event.trigger.next_us(instant)
                if event.next_due is None and event.status == "active":
                    event.status = "completed"
            batch = len(self.backfills) - 1
            event.runs.append(Run(event, instant, batch=batch, ready_at=self.now))
        plan.existing = len(instants) - plan.planned - plan.remaining

    def _not_run(self, event: Event, instants: list[int]) -> Iterator[tuple[int, Run | None]]:
        runs = {run.due: run for run in event.runs if not run.manual}
        for instant in instants:
            run = runs.get(instant)
            if run is None or run.unbegun:
                yield instant, run

    def cancel_backfill(self, number: int) -> None:
        """End what waits in a backfill; what runs goes on."""
        event = self._changing(self.backfills[number].event.name)
        self._take_back(event)
        for run in event.open:
            if run.batch == number and not run.held:
                run.end("cancelled", "requested")
        self.settle()

    def _changing(self, name: str) -> Event:
        """The event, to be changed: a pause that is over is over."""
        event = self.events[name]
        self._end_pause(event)
        return event

    def progress(self, number: int) -> dict[str, int]:
        """How many executions of a backfill have which fate."""
        fates: dict[str, int] = {}
        for run in self.backfills[number].event.runs:
            if run.batch == number:
                fates[run.fate] = fates.get(run.fate, 0) + 1
        return fates
