"""Recovery: what a killed process left behind, and what fell due while nothing ran."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from figures.waiting import scratch, until
from harness.plan import Column, Figure, Task
from peers.kalends_sqlite import make_scheduler

from kalends import Registry, Scheduler, once

__all__ = ["FIGURE", "left_open", "overdue"]

_TEXT = """
From the start of a scheduler until everything that it found has run and is recorded. *Open when
killed*: a process that had claimed all of it was killed (`SIGKILL`), and its lease had run out;
each execution is taken over and attempted again. *Overdue*: events that fell due while no process
ran.
"""
_TOP = Path(__file__).parent.parent


def left_open(*, count: int, column: str) -> dict[str, float]:
    """``count`` executions of a process that was killed."""
    with scratch() as folder:
        file = os.path.join(folder, "kalends.db")
        program = (
            f"import sys; sys.path.insert(0, {str(_TOP)!r}); "
            f"from figures.recovery import be_killed; be_killed({file!r}, {count})"
        )
        killed = subprocess.run([sys.executable, "-P", "-c", program], check=False)
        if killed.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the process to be killed ended with {killed.returncode}")
        time.sleep(1.5)  # its lease was one second
        return {column: _recovered(file, count)}


def overdue(*, count: int, column: str) -> dict[str, float]:
    """``count`` events that nobody was there for."""
    with scratch() as folder:
        file = os.path.join(folder, "kalends.db")
        with make_scheduler(file, enabled=False) as scheduler:
            due = time.time() + 1.0
            _store(scheduler, count, due)
            until(lambda: time.time() > due, "the instant")
        return {column: _recovered(file, count)}


def be_killed(file: str, count: int) -> None:
    """The first process: it claims everything, runs next to nothing, and kills itself."""
    registry = Registry()
    registry.register(lambda: time.sleep(3600.0), "idle")
    limits: dict[str, Any] = {"claim_limit": count * 2, "claim_batch": min(count, 10_000)}
    scheduler = Scheduler(
        file,
        registry=registry,
        lease=1.0,
        cancel_grace=0.0,
        housekeeping_every=0.2,
        claim_ahead=5.0,
        **limits,
    )
    scheduler.start()
    due = time.time() + 3.0 + count / 20_000
    _store(scheduler, count, due)
    until(lambda: scheduler.status().in_flight >= count, "all claimed")
    until(lambda: time.time() > due, "the instant")
    os.kill(os.getpid(), signal.SIGKILL)


def _store(scheduler: Scheduler, count: int, due: float) -> None:
    rule = once(datetime.fromtimestamp(due, UTC))
    for begin in range(0, count, 50_000):
        some = range(min(count - begin, 50_000))
        scheduler.schedule_events({"job": "idle", "trigger": rule} for _ in some)


def _recovered(file: str, count: int) -> float:
    began = time.perf_counter()
    with make_scheduler(file) as scheduler:
        until(lambda: scheduler.count_executions(fate="succeeded") >= count, "all have run")
        return time.perf_counter() - began


def _tasks(quick: bool) -> list[Task]:
    sizes = (("ten", 50), ("hundred", 500)) if quick else (("ten", 10_000), ("hundred", 100_000))
    return [
        Task(
            row=row,
            code=f"figures.recovery:{code}",
            peer="kalends",
            arguments={"count": count, "column": column},
            rounds=2,
        )
        for row, code in (("open when killed", "left_open"), ("overdue at the start", "overdue"))
        for column, count in sizes
    ]


FIGURE = Figure(
    name="recovery",
    title="Recovery",
    text=_TEXT,
    columns=(Column("ten", "10,000", "s"), Column("hundred", "100,000", "s")),
    tasks=_tasks,
    growth=(("ten", "hundred"),),
)
