"""Jobs that compute, crash, leave, want all memory and hang, each in a process of its own.

    python examples/jobs_in_processes.py

The jobs are functions at the top of this file, and what starts the scheduler stands below
``if __name__ == "__main__":``, because a worker process imports this file to find them. On Linux.
"""

from __future__ import annotations

import ctypes
import os
import time

import pendulum

import kalends
from kalends import Event, Execution, Scheduler, once
from kalends.jobs.executors import ProcessExecutor


@kalends.job("primes.count", executor="process")
def count_primes(limit: int) -> dict[str, int]:
    """Keeps a processor busy, and no thread of the scheduler's."""
    sieve = bytearray([1]) * limit
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return {"primes": sum(sieve) - 2, "process": os.getpid()}


@kalends.job("native.crash", executor="process")
def crash() -> None:
    """What a bug in a C library does."""
    ctypes.string_at(0)


@kalends.job("native.leave", executor="process")
def leave() -> None:
    """Ends its process without a word."""
    os._exit(3)


@kalends.job("images.load", executor="process")
def load() -> None:
    """Reads more than there is room for."""
    images = []
    while True:
        images.append(bytearray(10_000_000))


@kalends.job("regex.match", executor="process")
def hang() -> None:
    """Never looks whether it is to stop."""
    while True:
        pass


def ended(scheduler: Scheduler, event: Event) -> Execution:
    """The event's execution, when nothing of it runs any more."""
    for _ in range(12_000):
        items = scheduler.list_executions(event_id=event.id).items
        if items and items[0].ended_at is not None and not items[0].still_running:
            return items[0]
        time.sleep(0.005)
    raise TimeoutError("it did not end")


def main() -> None:
    """Runs each job once, one after the other."""
    workers = ProcessExecutor(2, memory_limit=1_000_000_000, max_jobs=100)
    with Scheduler(":memory:", executors={"process": workers}) as scheduler:
        now = once(pendulum.now("UTC"))
        event = scheduler.schedule_event(count_primes, now, kwargs={"limit": 1_000_000})
        result = ended(scheduler, event).result
        print(f"{result['primes']} primes, elsewhere: {result['process'] != os.getpid()}")
        for job in (crash, leave, load, hang):
            event = scheduler.schedule_event(job, now, timeout=0.5 if job is hang else None)
            found = ended(scheduler, event)
            assert found.error is not None
            how = f"{found.error.type}: {found.error.message}".removesuffix(": ")
            print(f"{event.job}: {found.fate}, {how}")
        event = scheduler.schedule_event(count_primes, now, kwargs={"limit": 100})
        print(f"and on: {ended(scheduler, event).result['primes']} primes")


if __name__ == "__main__":
    main()
