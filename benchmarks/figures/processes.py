"""Several processes on one SQLite file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from figures.waiting import percentile, scratch, until
from harness.plan import Column, Figure, Task
from peers.kalends_sqlite import make_scheduler

from kalends import Scheduler, once

__all__ = ["FIGURE", "be_one", "shared"]

_TEXT = """
10,000 events due at once, and 1,000 over 2 s, on one SQLite file that one, two or four processes
share on two cores: each instant is run by one of them, which `verify` confirms after each round.
The rate is from the instant to the last recorded end. Of the peers, none shares an SQLite file
so: APScheduler 3 runs a job in every process, APScheduler 4 warns against it, and Huey has one
scheduler.
"""
_TOP = Path(__file__).parent.parent


def shared(*, processes: int, burst: int, single: int) -> dict[str, float]:
    """``processes`` on one file."""
    with scratch() as folder:
        file = os.path.join(folder, "kalends.db")
        program = (
            f"import sys; sys.path.insert(0, {str(_TOP)!r}); "
            f"from figures.processes import be_one; be_one({file!r})"
        )
        with make_scheduler(file, enabled=False) as watcher:
            others = [
                subprocess.Popen(
                    [sys.executable, "-P", "-c", program],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
                for _ in range(processes)
            ]
            for other in others:
                assert other.stdout is not None
                assert other.stdout.readline() == b"running\n"
            due = time.time() + 2.0 + burst / 5000
            _store(watcher, [due] * burst)
            later = time.time() + 1.0 if burst == 0 else due + 2.0 + burst / 2000
            _store(watcher, [later + number * 2.0 / single for number in range(single)])
            total = burst + single
            until(lambda: watcher.count_executions(fate="succeeded") >= total, "all have run")
            split = datetime.fromtimestamp(later - 0.001, UTC)
            ended = _ends(watcher, until_=split)
            late = _lateness(watcher, since=split)
            for other in others:
                other.communicate(b"end\n")
            assert watcher.verify().ok
        return {
            "rate": burst / (max(ended) - due),
            "p50": percentile(late, 0.5) * 1e3,
            "p99": percentile(late, 0.99) * 1e3,
        }


def be_one(file: str) -> None:
    """One of the processes: until its standard input says something."""
    with make_scheduler(file):
        print("running", flush=True)
        sys.stdin.readline()


def _store(scheduler: Scheduler, instants: list[float]) -> None:
    scheduler.schedule_events(
        {"job": "idle", "trigger": once(datetime.fromtimestamp(at, UTC))} for at in instants
    )


def _ends(scheduler: Scheduler, *, until_: datetime) -> list[float]:
    ends, cursor = [], None
    while True:
        page = scheduler.list_executions(until=until_, limit=1000, cursor=cursor)
        ends += [item.ended_at.timestamp() for item in page.items if item.ended_at]
        cursor = page.cursor
        if cursor is None:
            return ends


def _lateness(scheduler: Scheduler, *, since: datetime) -> list[float]:
    page = scheduler.list_executions(since=since, limit=1000)
    return [item.lateness for item in page.items if item.lateness is not None]


def _tasks(quick: bool) -> list[Task]:
    burst, single = (100, 20) if quick else (10_000, 1000)
    return [
        Task(
            row=f"Kalends, {count} process{'es' if count > 1 else ''}",
            code="figures.processes:shared",
            peer="kalends",
            arguments={"processes": count, "burst": burst, "single": single},
        )
        for count in ((1, 2) if quick else (1, 2, 4))
    ]


FIGURE = Figure(
    name="processes",
    title="Several processes",
    text=_TEXT,
    columns=(
        Column("rate", "10,000 due at once", "per second", more=True),
        Column("p50", "1,000 over 2 s: late, median", "ms"),
        Column("p99", "99 %", "ms"),
    ),
    tasks=_tasks,
    chart="rate",
)
