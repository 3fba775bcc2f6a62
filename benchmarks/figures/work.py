"""What a fire and an added event take, counted: what does not depend on the machine."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import apsw
import msgspec
import recording
from figures.asking import between_actors
from figures.waiting import scratch, until
from harness.plan import Column, Figure, Task
from peers.kalends_sqlite import Subject

from kalends import once

__all__ = ["FIGURE", "adds", "asks", "bulk", "fires"]

_TEXT = """
What one fire (of many due at once), one `schedule_event`, one event of a `schedule_events` and
one ask between actors take, counted: statements and transactions of SQLite, rows it wrote, the
steps of its virtual machine, and the calls of functions in Python's interpreter, on all threads.
These numbers are nearly the same on every machine, so CI holds them to bounds
(`tests/benchmarks/test_guard.py`).
The processor time stands beside that of a plain loop: how many calls of an empty function it
would have paid for.
"""


class _Counted(msgspec.Struct):
    """What SQLite was asked, on all connections."""

    statements: int = 0
    commits: int = 0
    rows: int = 0
    steps: int = 0


class _Counting:
    """Counts from its start to its end; begun before the scheduler opens its connections."""

    def __init__(self, *, calls: bool) -> None:
        self._on = False
        self._calls = itertools.count() if calls else None
        self._changes: dict[int, int] = {}
        self.sql = _Counted()
        self.spent = 0.0
        """Seconds of processor time."""
        apsw.connection_hooks.append(self._connected)
        if calls:
            threading.setprofile(self._called)

    def _connected(self, connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, self._stated)

    def _stated(self, event: dict[str, Any]) -> None:
        key, changes = id(event["connection"]), event["total_changes"]
        rows = changes - self._changes.get(key, 0)
        self._changes[key] = changes
        if self._on:
            self.sql.statements += 1
            self.sql.commits += event["sql"] == "COMMIT"
            self.sql.rows += rows
            self.sql.steps += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]

    def _called(self, _frame: Any, event: str, _value: Any) -> None:
        if self._on and self._calls is not None and event in ("call", "c_call"):
            next(self._calls)

    def __enter__(self) -> _Counting:
        self._on = True
        self.spent = -time.process_time()
        if self._calls is not None:
            sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False
        self.spent += time.process_time()
        sys.setprofile(None)

    def each(self, count: int) -> dict[str, float]:
        """By the unit."""
        found = {key: value / count for key, value in msgspec.structs.asdict(self.sql).items()}
        return found if self._calls is None else {"calls": next(self._calls) / count}


def fires(*, count: int, calls: bool) -> dict[str, float]:
    """``count`` events that are due at once, from their claim to their record."""

    def work(subject: Subject, counting: _Counting) -> None:
        due = time.time() + 1.5 + count / 2000
        subject.add_at([due] * count)
        until(lambda: time.time() > due - 0.35, "the instant")
        with counting:
            until(lambda: len(recording.RAN) >= count, "the last run")
            until(lambda: not subject.scheduler.status().in_flight, "the last outcome")

    return _each(count, calls, work)


def adds(*, count: int, calls: bool) -> dict[str, float]:
    """``count`` calls of ``schedule_event``."""

    def work(subject: Subject, counting: _Counting) -> None:
        rule = once(datetime.fromtimestamp(time.time() + 86_400.0, UTC))
        with counting:
            for _ in range(count):
                subject.scheduler.schedule_event("idle", rule)

    return _each(count, calls, work)


def bulk(*, count: int, calls: bool) -> dict[str, float]:
    """One call of ``schedule_events``."""

    def work(subject: Subject, counting: _Counting) -> None:
        rule = once(datetime.fromtimestamp(time.time() + 86_400.0, UTC))
        with counting:
            subject.scheduler.schedule_events(
                {"job": "idle", "trigger": rule} for _ in range(count)
            )

    return _each(count, calls, work)


def asks(*, count: int, calls: bool) -> dict[str, float]:
    """``count`` asks, one after the other, from one actor to another."""
    counting = _Counting(calls=calls)
    ask = between_actors(count)
    ask(1)
    with counting:
        ask(count)
    return counting.each(count) if calls else {"loop": counting.spent / count / _empty_call()}


def _each(count: int, calls: bool, work: Callable[[Subject, _Counting], None]) -> dict[str, float]:
    with scratch() as folder:
        counting = _Counting(calls=calls)
        # Housekeeping's first round would be among what is counted.
        subject = Subject(folder, housekeeping_every=86_400.0)
        subject.scheduler.housekeeper.keep_house().get()
        work(subject, counting)
        found = counting.each(count)
        return found if calls else found | {"loop": counting.spent / count / _empty_call()}


def _empty_call() -> float:
    """Processor time of a call of an empty function, by a plain loop: the best of five."""
    best = 1.0
    for _ in range(5):
        spent = time.process_time()
        for _ in range(100_000):
            recording.idle()
        best = min(best, (time.process_time() - spent) / 100_000)
    return best


def _tasks(quick: bool) -> list[Task]:
    many, some = (500, 100) if quick else (5000, 1000)
    return [
        Task(
            row=row,
            code=f"figures.work:{code}",
            peer="kalends",
            arguments={"count": count, "calls": calls},
        )
        for row, code, count in (
            ("a fire", "fires", many),
            ("schedule_event", "adds", some),
            ("schedule_events, an event", "bulk", many),
            ("an ask between actors", "asks", many),
        )
        for calls in (False, True)
    ]


FIGURE = Figure(
    name="work",
    title="What a fire takes, counted",
    text=_TEXT,
    columns=(
        Column("statements", "statements", "each"),
        Column("commits", "commits", "each"),
        Column("rows", "rows written", "each"),
        Column("steps", "SQLite's steps", "each"),
        Column("calls", "calls of functions", "each"),
        Column("loop", "processor time", "empty calls"),
    ),
    tasks=_tasks,
)
