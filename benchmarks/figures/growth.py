"""How the cost of what users do often grows with the number of stored events."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import recording
from figures.stored import store_events
from figures.waiting import scratch, until
from harness.plan import Column, Figure, Task
from peers.kalends_sqlite import Subject

from kalends import Scheduler, once

__all__ = ["FIGURE", "verbs"]

_TEXT = """
The processor time of one call of each verb, all threads of the process together, with 10,000,
100,000 and 1,000,000 events stored (the mean of 60 calls, each about another event), and that of
a fire (of 2,000 due at once). Processor time is what a busy neighbour does not change, and what a
scan would show in. The exponent says how the cost grows for ten times the events: 0 is not at
all, and a tree that is one level deeper gives a few hundredths.
"""


def verbs(*, count: int, column: str, fires: int, calls: int) -> dict[str, dict[str, float]]:
    """Each verb on a database of ``count`` events."""
    with scratch() as folder:
        store_events(os.path.join(folder, "kalends.db"), count)
        subject = Subject(folder)
        found = _measured(subject.scheduler, calls)
        found["a fire (processor time)"] = _fires(subject, fires)
        return {name: {column: value} for name, value in found.items()}


def _measured(scheduler: Scheduler, count: int) -> dict[str, float]:
    far = datetime.now(UTC) + timedelta(days=300)
    soon = datetime.now(UTC) + timedelta(days=31)
    page = scheduler.list_events(limit=1000)
    events = page.items

    def walk() -> Iterator[str]:
        while True:
            # Far apart in the table, not one after the other.
            yield from (events[number * 37 % len(events)].id for number in range(len(events)))

    ids = walk()
    paused: list[str] = []

    def pause() -> None:
        paused.append(next(ids))
        scheduler.pause_event(paused[-1])

    calls: dict[str, Callable[[], object]] = {
        "schedule_event": lambda: scheduler.schedule_event("idle", once(far)),
        "get_event": lambda: scheduler.get_event(next(ids)),
        "update_event": lambda: scheduler.update_event(next(ids), note="x"),
        "pause_event": pause,
        "resume_event": lambda: scheduler.resume_event(paused.pop()),
        "delete_event": lambda: scheduler.delete_event(
            scheduler.schedule_event("idle", once(far)).id
        ),
        "trigger_now": lambda: scheduler.trigger_now(next(ids)),
        "skip_next": lambda: scheduler.skip_next(next(ids)),
        "list_events, a page": lambda: scheduler.list_events(limit=50),
        "list_events, by next_due": lambda: scheduler.list_events(limit=50, sort="next_due"),
        "list_events, by name": lambda: scheduler.list_events(limit=50, sort="name"),
        "list_events, a name": lambda: scheduler.list_events(name=events[7].name),
        "preview": lambda: scheduler.preview(next(ids), 5),
        "next_runs": lambda: scheduler.next_runs(limit=50),
        "explain, what is to come": lambda: scheduler.explain(next(ids), soon),
        "list_executions, a page": lambda: scheduler.list_executions(limit=50),
        "overdue": scheduler.overdue,
    }
    return {name: _each_ms(call, count) for name, call in calls.items()}


def _each_ms(call: Callable[[], object], count: int) -> float:
    call()
    spent = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - spent) / count * 1e3


def _fires(subject: Subject, count: int) -> float:
    due = time.time() + 1.5 + count / 5000
    ran = len(recording.RAN)
    subject.add_at([due] * count)
    until(lambda: time.time() > due - 0.4, "the instant")
    spent = time.process_time()
    until(lambda: len(recording.RAN) - ran >= count, "the last run")
    until(lambda: not subject.scheduler.status().in_flight, "the last outcome")
    return (time.process_time() - spent) / count * 1e3


def _tasks(quick: bool) -> list[Task]:
    sizes = (1000, 2000, 3000) if quick else (10_000, 100_000, 1_000_000)
    effort = {"fires": 100, "calls": 5} if quick else {"fires": 2000, "calls": 60}
    return [
        Task(
            row=None,
            code="figures.growth:verbs",
            peer="kalends",
            arguments={"count": count, "column": column, **effort},
            rounds=2,
        )
        for count, column in zip(sizes, ("ten", "hundred", "million"), strict=True)
    ]


FIGURE = Figure(
    name="growth",
    title="How the cost grows",
    text=_TEXT,
    columns=(
        Column("ten", "10,000 events", "ms"),
        Column("hundred", "100,000 events", "ms"),
        Column("million", "1,000,000 events", "ms"),
    ),
    tasks=_tasks,
    growth=(("ten", "hundred"), ("hundred", "million")),
)
