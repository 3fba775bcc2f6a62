"""Thousands of jobs that wait at once: as greenlets, and as coroutines; and what finds no room.

    python examples/greenlets_and_coroutines.py

A job chooses where it runs, by ``executor``; coroutine functions run under asyncio by themselves.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable

import gevent
import pendulum

import kalends
from kalends import Scheduler, once
from kalends.jobs.executors import AsyncioExecutor

NOW = pendulum.now("UTC")
POLLS, CALLS = 1_000, 1_000
waiting: Counter[str] = Counter()
all_wait = asyncio.Event()
pause = threading.Event()


@kalends.job("devices.poll", executor="greenlet")
def poll(device: int) -> int:
    """Waits for a device, as gevent waits: the others have their turn meanwhile."""
    waiting["polls"] += 1
    while waiting["polls"] < POLLS:  # none goes on before all of them wait
        gevent.sleep(0.01)
    return device


@kalends.job("api.call")
async def call(number: int) -> int:
    """Waits for a server, as asyncio waits."""
    waiting["calls"] += 1
    if waiting["calls"] == CALLS:
        all_wait.set()
    await all_wait.wait()
    return number


@kalends.job("api.stream")
async def stream() -> None:
    """Never ends by itself; asyncio cancels it, and it puts in order what it has to."""
    try:
        await asyncio.sleep(3600)
    finally:
        waiting["streams closed"] += 1


def wait_until(condition: Callable[[], bool]) -> None:
    """Look every few milliseconds, for at most a minute."""
    for _ in range(12_000):
        if condition():
            return
        pause.wait(0.005)
    raise SystemExit("it took too long")


def main() -> None:
    narrow = AsyncioExecutor(1, queue_limit=2)  # one at a time; two may wait
    with Scheduler(":memory:", executors={"narrow": narrow}) as scheduler:
        scheduler.schedule_events(
            {"job": job, "trigger": once(NOW), "name": f"{job}-{n}", "args": [n]}
            for job, number in (("devices.poll", POLLS), ("api.call", CALLS))
            for n in range(number)
        )
        wait_until(lambda: scheduler.count_executions(fate="succeeded") == POLLS + CALLS)
        print(f"{waiting['polls']} greenlets and {waiting['calls']} coroutines waited at once")

        slow = scheduler.schedule_event("api.stream", once(NOW), name="slow", timeout=0.1)
        wait_until(lambda: waiting["streams closed"] == 1)
        wait_until(lambda: not scheduler.list_executions(event_id=slow.id).items[0].still_running)
        print(f"the slow one: {scheduler.list_executions(event_id=slow.id).items[0].fate}")

        scheduler.schedule_events(
            {"job": "api.stream", "trigger": once(NOW), "name": f"narrow-{n}", "executor": "narrow"}
            for n in range(5)
        )
        wait_until(lambda: scheduler.count_executions(fate="skipped") == 2)
        for execution in scheduler.list_executions(fate="skipped").items:
            print(f"no room: {execution.fate} ({execution.reason})")
        scheduler.shutdown(timeout=0)
    print(f"streams closed: {waiting['streams closed']}")


if __name__ == "__main__":
    main()
