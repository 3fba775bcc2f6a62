"""What stored events cost while nothing is due: start, memory, processor."""

from __future__ import annotations

import os
import resource
import time

from figures.stored import store_events
from figures.waiting import scratch
from harness.plan import Column, Figure, Task
from peers.catalogue import PEERS, open_subject
from peers.filling import FILLERS

__all__ = ["FIGURE", "stored"]

_TEXT = """
Events that are due in a month, stored beforehand (most of them copied by SQL). *Start* is until
the scheduler runs; *memory* is what the process has more than with an empty database, after a
second; *idle* is the share of one core over the following seconds. `schedule` has its events in
memory and adds them at the start.
"""


def stored(
    *, subject: str, count: int, column: str, seconds: float, settle: float
) -> dict[str, float]:
    """``count`` events at rest for ``seconds``."""
    with scratch() as empty, scratch() as folder:
        if subject == "kalends":
            store_events(os.path.join(folder, "kalends.db"), count)
        elif subject in FILLERS:
            FILLERS[subject](folder, count)
        first = open_subject(subject, empty)
        first.start()
        time.sleep(settle)
        before = _resident()
        first.stop()
        began = time.perf_counter()
        second = open_subject(subject, folder)
        if subject not in FILLERS and subject != "kalends":
            second.add_at([time.time() + 30 * 86_400.0] * count)
        second.start()
        started = time.perf_counter() - began
        time.sleep(settle)
        memory = _resident() - before
        spent, began = time.process_time(), time.perf_counter()
        time.sleep(seconds)
        idle = (time.process_time() - spent) / (time.perf_counter() - began)
        return {
            f"{column}_start": started * 1e3,
            f"{column}_memory": memory / 2**20,
            f"{column}_idle": idle * 100,
        }


def _resident() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


_SIZES = (("thousand", "1,000", 1000), ("hundred", "100,000", 100_000), ("million", "1,000,000", 1_000_000))  # fmt: skip  # noqa: E501


def _tasks(quick: bool) -> list[Task]:
    return [
        Task(
            row=PEERS[name].title,
            code="figures.footprint:stored",
            peer=name,
            arguments={
                "subject": name,
                "count": count // 100 if quick else count,
                "column": column,
                "seconds": 0.2 if quick else 5.0,
                "settle": 0.1 if quick else 1.0,
            },
            rounds=2,
        )
        for name in ("kalends", "apscheduler3", "huey_at_rest", "schedule")
        for column, _, count in _SIZES
        if not (name == "schedule" and column == "million")
    ]


FIGURE = Figure(
    name="footprint",
    title="Stored events at rest",
    text=_TEXT,
    columns=tuple(
        Column(f"{column}_{part}", f"{size}: {title}", unit)
        for column, size, _ in _SIZES
        for part, title, unit in (
            ("start", "start", "ms"),
            ("memory", "memory", "MiB"),
            ("idle", "idle", "% of a core"),
        )
    ),
    tasks=_tasks,
    growth=(),
)
