"""The message-based API: proxies, futures, asyncio, refusals by code.

    python examples/actor_proxies.py [directory]

Every verb of the scheduler is one message to one actor. The proxies send the message and return a
future at once: collect many of them, wait with a time-out, or await them under asyncio.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from pathlib import Path

import pendulum

import kalends
from kalends import EventNotFound, Result, Scheduler, VersionConflict, cron, every

finished = threading.Event()


@kalends.job("greet")
def greet(name: str) -> str:
    """Says hello, and tells the script that it has."""
    finished.set()
    return f"hello, {name}"


def futures(scheduler: Scheduler) -> str:
    """One message, one future; and a hundred in flight at once."""
    future = scheduler.events.create(
        greet, cron("0 9 * * 1-5", tz="Europe/Oslo"), name="greet", kwargs={"name": "Ada"}
    )
    event = future.get(timeout=5)
    print(f"created {event.name}: {event.trigger.describe()}")

    asked = [scheduler.events.get(event.id) for _ in range(100)]
    names = {future.get(timeout=5).name for future in asked}
    print(f"{len(asked)} questions in flight, all answered: {names}")
    return event.id


def refusals(scheduler: Scheduler, event_id: str) -> None:
    """A refusal is raised where the answer is read, and has a stable code."""
    nobody = "00000000-0000-7000-8000-000000000000"
    future = scheduler.events.get(nobody)  # nothing is raised here
    try:
        future.get(timeout=5)
    except EventNotFound as error:
        print(f"raised {error.code}")

    # For hosts that branch on codes: a value instead of an exception.
    result = Result.capture(
        scheduler.events.create("greet", every(hours=1), kwargs={"name": {"first": pendulum.UTC}})
    )
    print(f"ok={result.ok} {result.code} at {result.details['path']}")
    result = Result.capture(scheduler.events.create("gret", every(seconds=1)))
    print(f"ok={result.ok} {result.code}: {result.message}")

    # Optimistic locking: the second of two writers that read version 1 is refused.
    scheduler.events.update(event_id, tags=["hello"], version=1).get()
    try:
        scheduler.events.update(event_id, tags=["goodbye"], version=1).get()
    except VersionConflict as error:
        print(f"raised {error.code}: {error.details}")


async def in_asyncio(scheduler: Scheduler, event_id: str) -> None:
    """Awaiting a future never blocks the loop."""
    event, total = await asyncio.gather(
        scheduler.events.get(event_id), scheduler.events.count(status="active")
    )
    print(f"asyncio: {total} active event, {event.name} at version {event.version}")
    try:
        await asyncio.wait_for(scheduler.events.pause(event_id, note="holiday"), timeout=5)
        await scheduler.events.release(event_id)
    except kalends.TransitionError as error:
        print(f"asyncio: {error.code}: {error.message}")


def other_actors(scheduler: Scheduler, event_id: str) -> None:
    """The loop runs an event now; the execution tracker knows what became of it."""
    claimed = scheduler.loop.trigger_now(event_id, author="ada").get(timeout=5)
    finished.wait(timeout=5)
    while (execution := scheduler.executions.get(claimed.id).get()).ended_at is None:
        time.sleep(0.01)  # the job has ended; its outcome is on its way to the disk
    print(f"{execution.fate}: {execution.result!r}, manual={execution.manual}")
    house = scheduler.housekeeper.keep_house().get(timeout=30)
    print(f"housekeeping errors: {house.errors}")


def main(directory: Path) -> None:
    """All of it on one scheduler."""
    with Scheduler(directory / "kalends.db") as scheduler:
        event_id = futures(scheduler)
        refusals(scheduler, event_id)
        asyncio.run(in_asyncio(scheduler, event_id))
        other_actors(scheduler, event_id)
        preview = scheduler.events.preview(event_id, 2).get()
        oslo = [instant.in_timezone("Europe/Oslo") for instant in preview]
        print("next two are weekdays at 9:", all(is_due(instant) for instant in oslo))
    late = Result.capture(scheduler.events.get(event_id))
    print(f"after shutdown: {late.code}")


def is_due(instant: pendulum.DateTime) -> bool:
    """What the cron expression says, in Python."""
    return instant.hour == 9 and instant.minute == 0 and instant.isoweekday() <= 5


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
