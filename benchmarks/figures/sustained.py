"""Sustained load: so many single events each second, and how late they are."""

from __future__ import annotations

import time

import recording
from figures.waiting import percentile, scratch, until
from harness.plan import Column, Figure, Task
from peers.catalogue import PEERS, open_subject

__all__ = ["FIGURE", "load"]

_TEXT = """
Single events, evenly spread over 5 s at 1,000, 5,000 and 10,000 a second, all stored beforehand:
whether a scheduler keeps up, and how late it is when it does. What cannot be kept up with is late
by seconds in the end. Peers that fall behind at 1,000 are not asked for more.
"""


def load(*, subject: str, rate: int, seconds: float, column: str) -> dict[str, float]:
    """``rate`` events a second, for ``seconds``."""
    count = int(rate * seconds)
    with scratch() as folder:
        under_test = open_subject(subject, folder)
        # Those with a bulk call, or without a disk, store them at once; others take 1.1 ms for one.
        each = 1 / 8000 if subject == "kalends" or "memory" in subject else 1 / 900
        begin = time.time() + 2.0 + count * each
        if subject == "kalends":
            under_test.start()
        under_test.add_at([begin + number / rate for number in range(count)])
        if time.time() > begin:
            raise TimeoutError("the events were not stored before they were due")
        until(lambda: time.time() >= begin - 0.5, "the first instant")
        if subject != "kalends":
            under_test.start()
        until(lambda: len(recording.RAN) >= count, "the last run")
        late = [at - due for due, at in recording.RAN]
        return {
            f"{column}_p50": percentile(late, 0.5) * 1e3,
            f"{column}_p99": percentile(late, 0.99) * 1e3,
        }


_RATES = {"one": 1000, "five": 5000, "ten": 10_000}


def _tasks(quick: bool) -> list[Task]:
    def task(name: str, column: str) -> Task:
        rate, seconds = (100, 0.5) if quick else (_RATES[column], 5.0)
        arguments = {"subject": name, "rate": rate, "seconds": seconds, "column": column}
        return Task(
            row=PEERS[name].title,
            code="figures.sustained:load",
            peer=name,
            arguments=arguments,
            rounds=2,
        )

    return [
        *(task("kalends", column) for column in _RATES),
        task("apscheduler3", "one"),
        *(task("apscheduler3_memory", column) for column in ("one", "five")),
        task("huey", "one"),
    ]


FIGURE = Figure(
    name="sustained",
    title="Sustained load",
    text=_TEXT,
    columns=tuple(
        Column(f"{key}_{share}", f"{_RATES[key]:,}/s, {title}", "ms")
        for key in _RATES
        for share, title in (("p50", "median"), ("p99", "99 %"))
    ),
    tasks=_tasks,
)
