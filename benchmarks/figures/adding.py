"""Adding events durably: one by one, from eight threads, in bulk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from figures.waiting import scratch
from harness.plan import Column, Figure, Task
from peers.catalogue import PEERS, open_subject

__all__ = ["FIGURE", "bulk", "one_by_one", "threads"]

_TEXT = """
Events that will be due in a day, added to a scheduler that runs. Each call returns when its event
is durable. Kalends checks the definition, gives it a name, writes the journal and wakes its loop
for each; eight threads share its commits. Only Kalends has a call for many at once
(`schedule_events`, one transaction); the peers' bulk is the same call again and again, and is
left out. The in-memory store shows what a call costs without a disk.
"""
_DAY = 86_400.0


def one_by_one(*, subject: str, count: int) -> dict[str, float]:
    """One thread, one event a call."""

    def work(add: Callable[[float], None], due: float) -> float:
        def all_of_them() -> None:
            for number in range(count):
                add(due + number)

        return _timed(all_of_them)

    return {"one": count / _running(subject, work)}


def threads(*, subject: str, count: int) -> dict[str, float]:
    """Eight threads, one event a call."""

    def work(add: Callable[[float], None], due: float) -> float:
        def some() -> None:
            for number in range(count // 8):
                add(due + number)

        workers = [threading.Thread(target=some) for _ in range(8)]

        def all_of_them() -> None:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

        return _timed(all_of_them)

    return {"eight": count // 8 * 8 / _running(subject, work)}


def bulk(*, subject: str, count: int) -> dict[str, float]:
    """All of them in one call."""
    with scratch() as folder:
        under_test = open_subject(subject, folder)
        under_test.start()
        instants = [time.time() + _DAY] * count
        return {"bulk": count / _timed(lambda: under_test.add_at(instants))}


def _running(subject: str, work: Callable[[Callable[[float], None], float], float]) -> float:
    with scratch() as folder:
        under_test = open_subject(subject, folder)
        under_test.start()
        return work(under_test.add_one, time.time() + _DAY)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _tasks(quick: bool) -> list[Task]:
    several, bulky = (40, 200) if quick else (2000, 50_000)
    tasks = []
    names = ("kalends", "apscheduler3", "huey", "apscheduler4", "apscheduler3_memory")
    for name in (*names, "huey_memory", "schedule"):
        count = several // 5 if name == "apscheduler4" else several
        tasks += [
            Task(
                row=PEERS[name].title,
                code=f"figures.adding:{code}",
                peer=name,
                arguments={"subject": name, "count": many},
            )
            for code, many in (("one_by_one", count), ("threads", 4 * count))
        ]
    tasks.append(
        Task(
            row="Kalends",
            code="figures.adding:bulk",
            peer="kalends",
            arguments={"subject": "kalends", "count": bulky},
        )
    )
    return tasks


FIGURE = Figure(
    name="adding",
    title="Adding events",
    text=_TEXT,
    columns=(
        Column("one", "one by one", "per second", more=True),
        Column("eight", "8 threads", "per second", more=True),
        Column("bulk", "in bulk", "per second", more=True),
    ),
    tasks=_tasks,
    chart="one",
)
