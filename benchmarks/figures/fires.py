"""Durable fires per second: many events due at one instant."""

from __future__ import annotations

import os
import time
from pathlib import Path

import apsw
import recording
from figures.waiting import scratch, until
from harness.plan import Column, Figure, Task
from peers.catalogue import PEERS, open_subject

__all__ = ["FIGURE", "at_once", "commits", "function_loop", "grouped_updates"]

_TEXT = """
Events that are all due at the same instant, each of which calls a function that notes the time.
The clock runs from the first call to the moment at which the store says that nothing is left:
what ran is durable by then. Kalends has a row for each of them, with its instants and its fate,
claimed before it was started; it claims up to 20,000 within the quarter of a second before they
are due, so the column with 100,000 says what it does without a head start. The peers remove what
ran and keep no history; they are started when the instant has come, so that storing the events is
no part of this. *Processor time* is that of all threads of the process. A peer that would take
minutes gets 1,000 events in place of 10,000.

The raw limits: transactions of one small row each; rows updated in transactions of 1,000; and a
loop that calls the function.
"""


def at_once(*, subject: str, count: int, column: str) -> dict[str, float]:
    """``count`` events due at once."""
    with scratch() as folder:
        under_test = open_subject(subject, folder)
        ahead = subject == "kalends"
        due = time.time() + (2.0 + count / 5000 if ahead else 0.0)
        under_test.add_at([due] * count)
        if ahead and time.time() > due - 0.5:
            raise TimeoutError("the events were not stored before they were due")
        until(lambda: time.time() >= due - 0.4, "the instant")
        spent = time.process_time()
        under_test.start()
        until(lambda: len(recording.RAN) >= count, "the last run")
        until(under_test.settled, "a store that has nothing left")
        ended, spent = time.time(), time.process_time() - spent
        first, _ = recording.first_and_last()
        return {column: count / (ended - first), f"{column}_cpu": spent / count * 1e6}


def commits(*, count: int) -> dict[str, float]:
    """Transactions of one inserted row each, as durable as the contenders'."""
    with scratch() as folder:
        connection = _database(folder, "raw.db")
        began, spent = time.perf_counter(), time.process_time()
        for number in range(count):
            with connection:
                connection.execute("INSERT INTO t VALUES (?, 'x')", (number,))
        return _rates(count, began, spent)


def grouped_updates(*, count: int) -> dict[str, float]:
    """Rows updated by their key, 1,000 to a transaction."""
    with scratch() as folder:
        connection = _database(folder, "raw.db")
        with connection:
            rows = ((number, "pending") for number in range(count))
            connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
        began, spent = time.perf_counter(), time.process_time()
        for begin in range(0, count, 1000):
            keys = [(number,) for number in range(begin, min(count, begin + 1000))]
            with connection:
                connection.executemany("UPDATE t SET v = 'succeeded' WHERE k = ?", keys)
        return _rates(count, began, spent)


def function_loop(*, count: int) -> dict[str, float]:
    """The function, called by a loop."""
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(count):
        recording.record(0.0)
    return _rates(count, began, spent)


def _database(folder: str, name: str) -> apsw.Connection:
    connection = apsw.Connection(os.fspath(Path(folder) / name))
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT) STRICT")
    return connection


def _rates(count: int, began: float, spent: float) -> dict[str, float]:
    took, spent = time.perf_counter() - began, time.process_time() - spent
    return {"at_once": count / took, "at_once_cpu": spent / count * 1e6}


def _tasks(quick: bool) -> list[Task]:
    many, few, raw = (200, 50, 2000) if quick else (10_000, 1000, 20_000)
    contenders = [
        ("kalends", many), ("apscheduler3", many), ("huey", many), ("apscheduler4", few),
        ("apscheduler3_memory", many), ("huey_memory", many), ("schedule", many),
    ]  # fmt: skip
    tasks = [
        Task(
            row=PEERS[name].title,
            code="figures.fires:at_once",
            peer=name,
            arguments={"subject": name, "count": count, "column": "at_once"},
        )
        for name, count in contenders
    ]
    large = {"subject": "kalends", "count": many * 10, "column": "large"}
    tasks.append(Task(row="Kalends", code="figures.fires:at_once", peer="kalends", arguments=large))
    for row, name in (
        ("raw limit: commits of one row", "commits"),
        ("raw limit: grouped updates", "grouped_updates"),
        ("raw limit: a loop of calls", "function_loop"),
    ):
        tasks.append(Task(row=row, code=f"figures.fires:{name}", arguments={"count": raw}))
    return tasks


FIGURE = Figure(
    name="fires",
    title="Durable fires",
    text=_TEXT,
    columns=(
        Column("at_once", "10,000 due at once", "per second", more=True),
        Column("at_once_cpu", "processor time a fire", "µs"),
        Column("large", "100,000 due at once", "per second", more=True),
        Column("large_cpu", "processor time a fire", "µs"),
    ),
    tasks=_tasks,
    chart="at_once",
)
