"""Jobs that fail, hang, wait and give up, and what the ledger tells of them.

    python examples/retries_and_timeouts.py

Six events of one scheduler in memory. Each shows one policy: retries with a backoff, a filter, a
time-out, a job that asks for another attempt, one that cancels itself, a pause after failures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import pendulum

import kalends
from kalends import Event, EventStatus, Execution, Scheduler, every, once
from kalends.keywords import PolicyFields

T = TypeVar("T")
released = threading.Event()


@kalends.job("rates.fetch")
def fetch() -> str:
    """Reaches its server with the third attempt."""
    attempt = kalends.current().attempt
    if attempt < 3:
        raise ConnectionError(f"no answer (attempt {attempt})")
    return "1 EUR = 11.46 NOK"


@kalends.job("rates.parse")
def parse() -> None:
    """Fails in a way that no further attempt mends."""
    raise ValueError("the file is not what it was")


@kalends.job("rates.watch")
def watch() -> str:
    """Is not ready at first, and says itself when to come again."""
    if kalends.current().attempt == 1:
        raise kalends.Snooze(0.02)
    if kalends.current().attempt == 2:
        raise kalends.Retry(0.02, "the market has just closed")
    return "closed"


@kalends.job("rates.publish")
def publish() -> None:
    """Has nothing to do today."""
    raise kalends.Cancel("a bank holiday")


@kalends.job("rates.archive")
def archive() -> None:
    """Hangs: it is told when its time is up, and takes longer still to stop."""
    while not kalends.current().cancelled:
        time.sleep(0.005)
    released.wait(10)


def soon(look: Callable[[], T | None]) -> T:
    """What ``look`` finds, once it does."""
    for _ in range(2000):
        found = look()
        if found:
            return found
        time.sleep(0.005)
    raise TimeoutError("it did not happen")


def ended(scheduler: Scheduler, event: Event) -> Execution:
    """The event's first execution, when it has ended."""

    def look() -> Execution | None:
        found = scheduler.list_executions(event_id=event.id, descending=False, limit=1).items
        return found[0] if found and found[0].ended_at is not None else None

    return soon(look)


def tell(execution: Execution) -> None:
    """Its fate, and each of its attempts."""
    reason = f" ({execution.reason})" if execution.reason else ""
    print(f"  {execution.fate}{reason}")
    for attempt in execution.attempts:
        error = "" if attempt.error is None else f": {attempt.error.type}: {attempt.error.message}"
        print(f"    attempt {attempt.number} {attempt.outcome}{error}")


def main() -> None:
    """Schedules all six, and waits for each."""
    with Scheduler(":memory:") as scheduler:
        now = once(pendulum.now("UTC"))
        quick: PolicyFields = {"retries": 3, "retry_delay": 0.02}

        print("retries: two failures, then it works")
        tell(ended(scheduler, scheduler.schedule_event(fetch, now, **quick)))

        print("give_up_on: the same retries, but not for this")
        picky: PolicyFields = {**quick, "give_up_on": ["ValueError"]}
        event = scheduler.schedule_event(parse, now, **picky)
        tell(ended(scheduler, event))

        print("Snooze and Retry: the job says when")
        tell(ended(scheduler, scheduler.schedule_event(watch, now)))

        print("Cancel: nothing to do")
        tell(ended(scheduler, scheduler.schedule_event(publish, now, **quick)))

        print("timeout: the slot is free, the job runs on for a while")
        event = scheduler.schedule_event(archive, now, timeout=0.1)
        hung = ended(scheduler, event)
        tell(hung)
        print(f"    still running: {hung.still_running}")
        released.set()
        soon(lambda: not scheduler.get_execution(hung.id).still_running)
        print("    still running: False")

        print("pause_after_failures: three in a row are enough")
        event = scheduler.schedule_event(parse, every(seconds=0.05), pause_after_failures=3)
        soon(lambda: scheduler.get_event(event.id).status is EventStatus.PAUSED)
        print(f"  {scheduler.get_event(event.id).note}")
        print(f"  failed: {scheduler.count_executions(event_id=event.id, fate='failed')}")


if __name__ == "__main__":
    main()
