"""Retention: folding a long history away while the scheduler fires."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

from figures.stored import build_history
from figures.waiting import scratch, until
from harness.plan import Column, Figure, Task
from peers.kalends_sqlite import Subject

__all__ = ["FIGURE", "prune"]

_TEXT = """
A ledger whose executions all ended 40 days ago and are to be kept for 30; the housekeeper folds
them into gaps, which keep the account whole, while 100 events fire each every 100 ms. How fast it
is, and how late what fires is before and meanwhile. No peer has a history to prune.
"""


def prune(*, events: int, each: int, column: str) -> dict[str, float]:
    """Prune ``events`` times ``each`` executions while 1,000 fire each second."""
    with scratch() as folder:
        file = os.path.join(folder, "kalends.db")
        build_history(file, events=events, each=each, period=60.0, ended=40 * 86_400.0)
        _end_events(file)
        started = time.time()
        subject = Subject(folder, housekeeping_every=86_400.0)
        begin = time.time() + 0.2
        subject.add_every(0.1, [begin + number * 0.001 for number in range(100)])
        # A start begins with a round of housekeeping: this joins it, or comes after a short one.
        subject.scheduler.housekeeper.keep_house().get(timeout=600.0)
        ended = time.time()
        busy = _late(subject, begin, max(ended, begin + 0.5))
        quiet = _late(subject, ended + 1.0, ended + 3.0)
        left = subject.scheduler.count_executions(until=datetime.now(UTC) - timedelta(days=30))
        assert not left, left
        subject.stop()
        return {
            f"{column}_rate": events * each / (ended - started),
            f"{column}_quiet": quiet,
            f"{column}_busy": busy,
        }


def _late(subject: Subject, since: float, until_: float) -> float:
    """How late 99 of 100 began of what was due in that time, in milliseconds."""
    until(lambda: time.time() > until_ + 0.5, "the end")
    first, last = (datetime.fromtimestamp(at, UTC) for at in (since, until_))
    late = subject.scheduler.report(since=first, until=last).lateness
    if late is None:
        raise RuntimeError("nothing has run")
    return late.p99 * 1e3


def _end_events(file: str) -> None:
    """Those events are over: a rule of forty days ago that goes on would have to catch up."""
    import apsw

    connection = apsw.Connection(file)
    connection.execute("UPDATE events SET status = 'paused'")
    connection.close()


def _tasks(quick: bool) -> list[Task]:
    events, sizes = (10, (100, 1000)) if quick else (100, (1000, 10_000))
    return [
        Task(
            row="Kalends",
            code="figures.retention:prune",
            peer="kalends",
            arguments={"events": events, "each": each, "column": column},
            rounds=2,
        )
        for each, column in zip(sizes, ("some", "many"), strict=True)
    ]


FIGURE = Figure(
    name="retention",
    title="Retention while firing",
    text=_TEXT,
    columns=tuple(
        Column(f"{key}_{part}", f"{size}: {title}", unit, more=part == "rate")
        for key, size in (("some", "100,000 rows"), ("many", "1,000,000 rows"))
        for part, title, unit in (
            ("rate", "folded", "per second"),
            ("quiet", "99 % late afterwards", "ms"),
            ("busy", "99 % late meanwhile", "ms"),
        )
    ),
    tasks=_tasks,
    growth=(("some_rate", "many_rate"),),
    rates=True,
)
