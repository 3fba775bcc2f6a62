"""A parent that forks and spawns workers while its scheduler runs.

A forked child has a copy of the parent's objects and none of its threads: the parent's scheduler
refuses every call there (``FORKED``). A child that is to ask or to schedule opens a client of its
own, ``enabled=False``; the parent runs what falls due.
"""

from __future__ import annotations

import multiprocessing
import os
import sys

import scheduling

from kalends import KalendsError, Scheduler


def child(number: int) -> None:
    """In the child: schedule a reminder as a client."""
    try:
        scheduling.scheduler.count_events()
    except KalendsError as error:
        refused = error.code  # FORKED; a spawned child's copy was never started
    with Scheduler("sqlite:///kalends.db", enabled=False) as client:
        client.schedule_event(
            "remind", scheduling.in_a_moment(), kwargs={"text": f"child {number} {refused}"}
        )


def main(methods: list[str]) -> None:
    """Start children by each method, wait for them and for what they asked for."""
    with scheduling.start() as scheduler:
        children = []
        for number, method in enumerate(methods):
            multiprocessing.set_start_method(method, force=True)
            children.append(multiprocessing.Process(target=child, args=(number,)))
            children[-1].start()
        for process in children:
            process.join(30)
        reminders = scheduler.list_events(job="remind").items
        while not all(
            scheduler.count_executions(event_id=event.id, fate="succeeded") for event in reminders
        ):
            scheduler.wait(0.02)
        codes = [process.exitcode for process in children]
        print(os.getpid(), codes, len(reminders))


if __name__ == "__main__":
    main(sys.argv[1:] or ["fork", "spawn", "fork", "spawn"])
