"""What the kill test runs and kills: schedules events, acknowledges each, runs until it dies.

Usage: kill_child.py DATABASE LOG EVENTS PERIOD FIRST. Prints one line for each acknowledged event:
its id, its delivery and its name. Jobs append ``begin`` and ``end`` lines to LOG.
"""

from __future__ import annotations

import os
import sys
import threading

from kalends import Registry, Scheduler, current, every

database, log, count, period, first = sys.argv[1:]
registry = Registry()
target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(word: str) -> None:
    """One line in one write: whole, or not there."""
    here = current()
    os.write(target, f"{word} {here.execution_id} {here.event_id} {here.attempt}\n".encode())


@registry.job("work")
def work() -> None:
    note("begin")
    threading.Event().wait(0.01)
    note("end")


with Scheduler(
    database, registry=registry, environ={}, housekeeping_every=0.5, lease=2.0
) as scheduler:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for number in range(int(first), int(count)):
        delivery = "at_most_once" if number % 2 else "at_least_once"
        event = scheduler.schedule_event(
            "work",
            every(seconds=float(period)),
            name=f"event-{number}",
            delivery=delivery,
            max_attempts=1000,
            on_conflict="keep",
            catch_up="all" if number % 3 == 0 else "latest",
            catch_up_limit=1000,
            overlap="allow_all" if number % 5 == 0 else "skip",
        )
        sys.stdout.write(f"event {event.id} {delivery} {number}\n")
        sys.stdout.flush()
    scheduler.wait()
