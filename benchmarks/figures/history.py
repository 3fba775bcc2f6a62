"""Questions to a long history."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from figures.stored import build_history
from figures.waiting import scratch
from harness.plan import Column, Figure, Task
from peers.kalends_sqlite import make_scheduler

from kalends import Scheduler

__all__ = ["FIGURE", "questions"]

_TEXT = """
A ledger of 1,000 events with 1,000 and with 10,000 executions each (one in a hundred failed),
built by SQL and valid; questions of the public interface, each the median of five after a first
one. What is asked of one event, of a page or of one instant must not grow with the history. A
report reads what it reports on: over everything it grows as the history does.
"""


def questions(*, events: int, each: int, column: str, verify: bool) -> dict[str, dict[str, float]]:
    """Ask them of a ledger of ``events`` times ``each`` executions."""
    with scratch() as folder:
        file = os.path.join(folder, "kalends.db")
        began = time.perf_counter()
        build_history(file, events=events, each=each, period=60.0, ended=30.0)
        built = time.perf_counter() - began
        with make_scheduler(file) as scheduler:
            if verify:
                assert scheduler.verify().ok, scheduler.verify()
            found = {name: _median_ms(ask) for name, ask in _questions(scheduler).items()}
        found["(building it by SQL)"] = built * 1e3
        return {name: {column: value} for name, value in found.items()}


def _questions(scheduler: Scheduler) -> dict[str, Callable[[], object]]:
    event = scheduler.list_events(limit=1, sort="created_at").items[0]
    now = datetime.now(UTC)
    instant = scheduler.list_executions(event_id=event.id, limit=5).items[-1].due
    hour, day = now - timedelta(hours=1), now - timedelta(days=1)
    return {
        "newest 50 executions": lambda: scheduler.list_executions(limit=50),
        "newest 50 of one event": lambda: scheduler.list_executions(event_id=event.id, limit=50),
        "newest 50 that failed": lambda: scheduler.list_executions(fate="failed", limit=50),
        "50 of an hour a day ago": lambda: scheduler.list_executions(
            since=day, until=day + timedelta(hours=1), limit=50
        ),
        "count of the last hour": lambda: scheduler.count_executions(since=hour),
        "count of what failed": lambda: scheduler.count_executions(fate="failed"),
        "explain one instant": lambda: scheduler.explain(event.id, instant),
        "report, one event, last hour": lambda: scheduler.report(event_id=event.id, since=hour),
        "report, one event, all": lambda: scheduler.report(event_id=event.id),
        "report, all, last hour": lambda: scheduler.report(since=hour),
        "verify one event": lambda: scheduler.verify(event.id),
        "overdue": scheduler.overdue,
    }


def _median_ms(ask: Callable[[], object]) -> float:
    taken = []
    for _ in range(6):
        began = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - began)
        if sum(taken) > 20.0:
            break
    return sorted(taken[1:] or taken)[len(taken[1:] or taken) // 2] * 1e3


def _tasks(quick: bool) -> list[Task]:
    events, sizes = (20, (100, 200)) if quick else (1000, (1000, 10_000))
    return [
        Task(
            row=None,
            code="figures.history:questions",
            peer="kalends",
            arguments={"events": events, "each": each, "column": column, "verify": quick},
            rounds=1,
            patience=900.0,
        )
        for each, column in zip(sizes, ("million", "ten"), strict=True)
    ]


FIGURE = Figure(
    name="history",
    title="A long history",
    text=_TEXT,
    columns=(
        Column("million", "1,000,000 executions", "ms"),
        Column("ten", "10,000,000 executions", "ms"),
    ),
    tasks=_tasks,
    growth=(("million", "ten"),),
)
