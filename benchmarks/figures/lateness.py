"""Lateness: how long after its instant a job begins, when there is little to do."""

from __future__ import annotations

import random
import time

import recording
from figures.waiting import millisecond_percentiles, scratch, until
from harness.plan import Column, Figure, Task
from peers.catalogue import PEERS, open_subject

__all__ = ["FIGURE", "intervals", "one_shots"]

_TEXT = """
How long after its instant a job begins. *One-shots*: 1,000 events at random instants within 5 s,
the same ones for everybody. *Intervals*: 10,000 events that repeat every 10 s, evenly spread, so
that one is due each millisecond; what runs in the first two seconds is not counted. Huey's
periodic tasks have whole minutes, and a timer fires once: neither has the second. A
`threading.Timer` is a thread for each event and the limit of the first.
"""


def one_shots(*, subject: str, count: int, seconds: float) -> dict[str, float]:
    """``count`` single events at random instants within ``seconds``."""
    with scratch() as folder:
        under_test = open_subject(subject, folder)
        under_test.start()
        # Storing them must be over when the first is due: the slowest store takes 3 ms for one.
        begin = time.time() + 1.5 + count * 0.004
        chance = random.Random(1)
        under_test.add_at([begin + chance.random() * seconds for _ in range(count)])
        if time.time() > begin:
            raise TimeoutError("the events were not stored before they were due")
        until(lambda: len(recording.RAN) >= count, "the last run", patience=30.0)
        return millisecond_percentiles([at - due for due, at in recording.RAN])


def intervals(*, subject: str, count: int, period: float, seconds: float) -> dict[str, float]:
    """``count`` repeating events for ``seconds``."""
    with scratch() as folder:
        under_test = open_subject(subject, folder)
        if subject == "kalends":
            under_test.start()
        begin = time.time() + 1.0 + (0.0 if subject != "apscheduler3" else count / 900)
        under_test.add_every(period, [begin + number * period / count for number in range(count)])
        until(lambda: time.time() >= begin, "the first instant")
        under_test.start()
        until(lambda: time.time() >= begin + 2.0 + seconds, "the end")
        late = [(at - first) % period for first, at in list(recording.RAN) if at > begin + 2.0]
        if len(late) < 0.5 * count * seconds / period:
            raise TimeoutError(f"only {len(late)} ran")
        return millisecond_percentiles(late, "every_")


def _tasks(quick: bool) -> list[Task]:
    shots = {"count": 40, "seconds": 0.5} if quick else {"count": 1000, "seconds": 5.0}
    often: dict[str, float] = (
        {"count": 50, "period": 0.5, "seconds": 0.5}
        if quick
        else {"count": 10_000, "period": 10.0, "seconds": 6.0}
    )
    names = ("kalends", "apscheduler3", "apscheduler3_memory", "apscheduler4", "huey")
    tasks = [
        Task(
            row=PEERS[name].title,
            code="figures.lateness:one_shots",
            peer=name,
            arguments={"subject": name, **shots},
        )
        for name in (*names, "schedule", "timer")
    ]
    tasks += [
        Task(
            row=PEERS[name].title,
            code="figures.lateness:intervals",
            peer=name,
            arguments={"subject": name, **often},
            rounds=2,
        )
        for name in ("kalends", "apscheduler3", "apscheduler3_memory", "schedule")
    ]
    return tasks


FIGURE = Figure(
    name="lateness",
    title="Lateness",
    text=_TEXT,
    columns=(
        Column("p50", "one-shots, median", "ms"),
        Column("p99", "99 %", "ms"),
        Column("max", "worst", "ms"),
        Column("every_p50", "intervals, median", "ms"),
        Column("every_p99", "99 %", "ms"),
        Column("every_max", "worst", "ms"),
    ),
    tasks=_tasks,
    chart="p99",
)
