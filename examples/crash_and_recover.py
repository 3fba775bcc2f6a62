"""Kill a process in the middle of its work, start it again, and check that nothing was lost.

    python examples/crash_and_recover.py [directory]

The child process runs ten fast events and two slow ones. The parent kills it without warning while
the slow ones run, leaves it dead for a while, starts it again, and then compares what each rule
says was due with what the ledger says became of it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pendulum

import kalends
from kalends import Delivery, Event, Execution, Fate, Gap, Scheduler, every, once

OUTAGE = 1.5
"""Seconds between the kill and the second start: longer than the lease below."""


@kalends.job("sensor.read")
def read_sensor(number: int) -> int:
    """A short job, due ten times a second in each of ten events."""
    return number * kalends.current().due.microsecond


@kalends.job("report.slow")
def slow_report() -> str:
    """Takes a minute at the first attempt, so that the kill meets it half-way."""
    attempt = kalends.current().attempt
    # In one piece with its end: two of these begin at once, and their lines must not run together.
    print(f"{kalends.current().event_name} began attempt {attempt}\n", end="", flush=True)
    if attempt == 1:
        threading.Event().wait(60)
    return f"done by attempt {attempt}"


def child(database: Path) -> None:
    """Schedule, run, and stop when the parent closes the pipe."""
    # Where the system cannot say that a process is dead (Windows), its lease has to end.
    with Scheduler(database, lease=1.0, housekeeping_every=0.5) as scheduler:
        now = pendulum.now("UTC")
        for number in range(10):
            # "keep": the second start finds these events and leaves them as they are.
            scheduler.schedule_event(
                read_sensor,
                every(seconds=0.1),
                name=f"sensor-{number}",
                kwargs={"number": number},
                on_conflict="keep",
            )
        for delivery in Delivery:
            scheduler.schedule_event(
                slow_report, once(now), name=delivery, delivery=delivery, on_conflict="keep"
            )
        sys.stdin.read()


def start_child(database: Path) -> subprocess.Popen[str]:
    """This script again, as the child."""
    command = [sys.executable, __file__, str(database.parent), "--child"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )


def wait_for(process: subprocess.Popen[str], *lines: str) -> None:
    """Read the child's output until each of the lines has come."""
    missing = set(lines)
    assert process.stdout is not None
    while missing:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the child ended without saying {missing}")
        missing.discard(line.strip())


def parent(database: Path) -> None:
    """Run, kill, run again, check."""
    with start_child(database) as first:
        wait_for(first, *(f"{delivery} began attempt 1" for delivery in Delivery))
        time.sleep(1.0)
        first.kill()  # SIGKILL; TerminateProcess on Windows: no handler runs, nothing is flushed
    print("killed while 2 jobs ran")
    time.sleep(OUTAGE)

    with start_child(database) as second:
        wait_for(second, f"{Delivery.AT_LEAST_ONCE} began attempt 2")
        time.sleep(1.0)
        second.communicate()  # closes its input: it shuts down in order
    print(f"started again, stopped with exit code {second.returncode}")
    check(database)


def check(database: Path) -> None:
    """Hold the ledger against the rules."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        print("integrity check:", *db.execute("PRAGMA integrity_check").fetchone())
    with Scheduler(database, enabled=False) as scheduler:  # answers, and runs nothing
        wrong = 0
        for event in scheduler.list_events(limit=100).items:
            executions = scheduler.list_executions(event_id=event.id, limit=1000).items
            gaps = scheduler.list_gaps(event_id=event.id).items
            wrong += not every_instant_has_one_fate(event, executions, gaps)
            if event.name in tuple(Delivery):
                (execution,) = executions
                attempts = ", then ".join(attempt.outcome for attempt in execution.attempts)
                print(f"{event.name}: {execution.fate} ({attempts})")
        missed = sum(gap.count for gap in scheduler.list_gaps(limit=1000).items)
        done = scheduler.count_executions(fate=Fate.SUCCEEDED)
        print(f"{done} executions succeeded; {missed} instants of the outage are in gaps")
        print(f"events with an instant lost, or fated twice: {wrong}")


def every_instant_has_one_fate(
    event: Event, executions: tuple[Execution, ...], gaps: tuple[Gap, ...]
) -> bool:
    """True where executions and gaps together are exactly what the rule says was due."""
    # The first instant without a fate; an event that is completed has none.
    end = event.next_due or pendulum.now("UTC")
    due = Counter(event.trigger.between(event.accounted_from, end))
    told = Counter(execution.due for execution in executions)
    for gap in gaps:
        told.update(event.trigger.between(gap.first, gap.last + timedelta(microseconds=1)))
    return due == told


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(Path(sys.argv[1], "kalends.db"))
    elif len(sys.argv) > 1:
        parent(Path(sys.argv[1], "kalends.db"))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            parent(Path(temporary, "kalends.db"))
