"""A scheduler beside the model: how both are asked, and where they have to agree."""

from __future__ import annotations

import heapq
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pendulum
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition
from tests.listing import every_one
from tests.stateful.expected import FATES, EventModel, Rule

from kalends import Event, KalendsError, Registry, current, every, once
from kalends.jobs.registry import Job
from kalends.testing import ProcessKilled, StorageStep, VirtualScheduler
from kalends.triggers import Trigger

__all__ = ["START", "TAGS", "BesideModel", "same"]

START = pendulum.datetime(2027, 1, 1, tz="UTC")
TAGS = ("blue", "red")
SETTLED: dict[str, Any] = {"claim_ahead": 0.0, "max_sleep": 86_400.0, "lease": 86_400.0}


class _Jobs(Registry):
    """Jobs that write down what they ran for; some may be gone for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: frozenset[str] = frozenset()
        self.ran: Counter[tuple[str, pendulum.DateTime]] = Counter()
        self.register(self._ok, "ok")
        self.register(self._boom, "boom")

    def find(self, name: str) -> Job | None:
        return None if name in self.gone else super().find(name)

    def _ok(self, **given: Any) -> None:
        self.ran[current().event_id, current().due] += 1

    def _boom(self, **given: Any) -> None:
        self._ok()
        raise RuntimeError("boom")


class _Killer:
    """Kills the process at a step of a transaction: the next of its kind, or one further on."""

    def __init__(self) -> None:
        self.at: StorageStep | None = None
        self.passes = 0
        self.kill: Callable[[], object] = lambda: None

    def __call__(self, step: StorageStep) -> None:
        if step is self.at:
            self.passes -= 1
            if self.passes < 0:
                self.at = None
                self.kill()


def same(found: object, expected: object) -> None:
    assert found == expected, f"{found} instead of {expected}"


class BesideModel(RuleBasedStateMachine):
    """``now``: the last whole second; the clock stands half a second after it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="kalends-api-")
        self.jobs, self.killer = _Jobs(), _Killer()
        self.scheduler = VirtualScheduler(
            Path(self.folder.name) / "kalends.db",
            start=START.add(microseconds=500_000),
            registry=self.jobs,
            probe=self.killer,
            **SETTLED,
        )
        self.killer.kill = self.scheduler.kill
        self.now = 0
        self.events: list[EventModel] = []
        self.names = itertools.count(1)

    # -- what both do ----------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self.scheduler.alive

    @property
    def living(self) -> list[EventModel]:
        return [event for event in self.events if event.status != "deleted"]

    def trigger(self, wanted: Rule) -> Trigger:
        at = START.add(seconds=wanted.phase)
        return once(at) if wanted.period is None else every(seconds=wanted.period, anchor=at)

    def from_now(self, wanted: Rule) -> Rule:
        """A rule of one moment lies ahead."""
        return wanted if wanted.period is not None else Rule(self.now + wanted.phase, None)

    def change(self, kill: StorageStep | None, verb: Callable[[], Any]) -> tuple[bool, Any]:
        """Whether the verb was carried out, and its answer; killed on the way perhaps."""
        if kill is None:
            return True, verb()
        self.killer.at, self.killer.passes = kill, 0
        with pytest.raises(ProcessKilled):
            verb()
        assert not self.alive
        return kill is StorageStep.COMMITTED, None

    def refused(self, code: str, verb: Callable[[], Any]) -> None:
        with pytest.raises(KalendsError) as caught:
            verb()
        same(caught.value.code, code)

    def allowed(self, event: EventModel, *statuses: str) -> str | None:
        """The code of the refusal, where the event has none of these statuses."""
        if event.status == "deleted":
            return "EVENT_NOT_FOUND"
        return None if event.status in statuses else "TRANSITION_REFUSED"

    # -- what is answered ------------------------------------------------------------------------

    def seconds(self, instant: pendulum.DateTime) -> int:
        return int((instant - START).total_seconds())

    def find(self, event: EventModel) -> Event:
        if not event.id:
            event.id = self.scheduler.list_events(name=event.name).items[0].id
        return self.scheduler.get_event(event.id, deleted=True)

    def told_of(self, event: EventModel) -> list[str]:
        entries = every_one(self.scheduler.list_journal, event_id=event.id)
        return [entry.kind.value for entry in reversed(entries)]

    @precondition(lambda self: self.alive)
    @invariant()
    def events_are_as_they_should_be(self) -> None:
        for event in self.events:
            found = self.find(event)
            due = None if found.next_due is None else self.seconds(found.next_due)
            told = (found.name, found.job, found.kwargs, found.status.value, found.version, due)
            expected = (
                event.name, event.job, event.kwargs, event.status, event.version, event.due,
            )  # fmt: skip
            same(told, expected)
            if event.status != "deleted":
                assert (found.tags, found.note) == (event.tags, event.note)
                assert found.trigger == self.trigger(event.rule)

    @precondition(lambda self: self.alive)
    @invariant()
    def lists_and_counts_are_of_these_events(self) -> None:
        by_status = Counter(event.status for event in self.living)
        for status in ("active", "paused", "completed", "quarantined"):
            assert self.scheduler.count_events(status=status) == by_status[status]
        for tag in TAGS:
            found = self.scheduler.list_events(tag=tag, limit=1000).items
            assert {each.id for each in found} == {
                event.id for event in self.living if tag in event.tags
            }
        # What was moved, or is attempted again after a kill, waits for the return of its event.
        waiting = {event.id for event in self.living if event.doubtful or event.moved}
        same([each for each in self.scheduler.overdue() if each.event_id not in waiting], [])

    @precondition(lambda self: self.alive)
    @invariant()
    def what_runs_next_is_what_is_due(self) -> None:
        active = [event for event in self.living if event.status == "active"]
        ahead = heapq.merge(*(self.instants(event) for event in active))
        expected = list(itertools.islice(ahead, 8))
        runs = self.scheduler.next_runs(limit=50)
        found = [self.seconds(run.instant) for run in runs if run.execution_id is None]
        same(found[:8], expected)

    def instants(self, event: EventModel) -> list[int]:
        return list(itertools.islice(event.rule.within(event.told, event.told + 10_000), 8))

    def ledger_is_as_it_should_be(self, event: EventModel) -> None:
        same(self.told_of(event), event.journal)
        executions = every_one(self.scheduler.list_executions, event_id=event.id)
        by_hand = [each for each in executions if each.manual]
        same(len(by_hand), event.manual)
        told = {self.seconds(each.due): each for each in executions if not each.manual}
        fates = {at: (each.reason or each.fate).value for at, each in told.items()}
        for gap in every_one(self.scheduler.list_gaps, event_id=event.id):
            span = [
                at
                for at in event.account
                if self.seconds(gap.first) <= at <= self.seconds(gap.last)
            ]
            assert not fates.keys() & set(span)
            fates |= dict.fromkeys(span, gap.reason.value)
        same(sorted(fates), sorted(event.account))
        odd = {at: fate for at, fate in fates.items() if fate not in event.account[at]}
        same(odd, {})
        for at, each in told.items():
            if each.fate.value in FATES.values():
                ran = self.jobs.ran[event.id, each.due]
                assert 1 <= ran <= len(each.attempts)
                assert ran == 1 or len(event.account[at]) > 1
        assert self.scheduler.count_executions(event_id=event.id) == len(executions)
        for at in sorted(fates)[-3:]:
            why = self.scheduler.explain(event.id, START.add(seconds=at))
            assert (why.reason or why.fate) == fates[at]
