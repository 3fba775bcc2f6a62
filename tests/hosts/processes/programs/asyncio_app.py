"""An asyncio application; measures how long its loop stood still.

Argument: database.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from typing import Any

import apsw

import kalends
from kalends.storage.sqlite import SqliteDialect

database = sys.argv[1]


@kalends.job("pulse")
def pulse() -> None:
    """Nothing but an execution."""


class Pulse:
    """A task that ticks, and the largest gap between its ticks."""

    def __init__(self) -> None:
        self.gap = 0.0
        self.task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.002)
            now = time.monotonic()
            self.gap, before = max(self.gap, now - before), now

    async def take(self) -> float:
        """The gap so far; the next measurement begins."""
        await asyncio.sleep(0.005)
        gap, self.gap = self.gap, 0.0
        return gap


async def until_fired(scheduler: kalends.Scheduler, event: kalends.Event, count: int) -> None:
    executions = scheduler.executions
    while await executions.count(event_id=event.id, fate="succeeded") < count:  # noqa: ASYNC110  (it does not call)
        await asyncio.sleep(0.01)


def blocked() -> apsw.Connection:
    """Another connection that keeps the writer out until it is closed."""
    blocker = apsw.Connection(database)
    blocker.set_busy_timeout(5000)
    blocker.execute("BEGIN IMMEDIATE")
    return blocker


async def cancelled_while_it_waits(scheduler: kalends.Scheduler) -> list[str]:
    """The writer is locked out; a task that waits for it is cancelled, what it asked for is not."""
    blocker = blocked()
    asked = scheduler.events.create("pulse", kalends.every(seconds=60), name="asked")
    seen: list[str] = []

    async def wait() -> None:
        await asked

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.05)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        seen.append("cancelled")
    try:
        await asyncio.wait_for(wait(), 0.05)
    except TimeoutError:
        seen.append("timed out")
    await asyncio.sleep(1.5)
    blocker.close()
    seen.append((await asked).name)
    return seen


def slow_down() -> None:
    """Opening a database takes 2 s from now on, as on a slow or busy disk."""
    really_prepare = SqliteDialect.prepare

    def prepare(self: SqliteDialect) -> None:
        held = threading.Lock()
        held.acquire()
        held.acquire(timeout=2.0)
        really_prepare(self)

    SqliteDialect.prepare = prepare  # type: ignore[method-assign]


async def main() -> dict[str, Any]:
    slow_down()
    pulse_ = Pulse()
    await pulse_.take()
    gaps: dict[str, float] = {}
    scheduler = kalends.Scheduler(database)
    began = time.monotonic()
    async with scheduler:
        assert time.monotonic() - began > 1.9
        gaps["start"] = await pulse_.take()
        event = await scheduler.events.create("pulse", kalends.every(seconds=0.05))
        names = await asyncio.gather(
            *(
                scheduler.events.create("pulse", kalends.every(seconds=60), name=f"event-{number}")
                for number in range(200)
            )
        )
        counts = await asyncio.gather(*(scheduler.events.count() for _ in range(200)))
        await until_fired(scheduler, event, 5)
        gaps["verbs"] = await pulse_.take()
        cancelled = await cancelled_while_it_waits(scheduler)
        try:
            await scheduler.events.get("01890a5d-ac96-774b-bcce-b302099a8057")
            refused = ""
        except kalends.EventNotFound as error:
            refused = error.code
        gaps["locked"] = await pulse_.take()
    gaps["shutdown"] = await pulse_.take()
    return {
        "gaps": gaps,
        "created": len({event.id for event in names}),
        "counts": sorted(set(counts)),
        "cancelled": cancelled,
        "refused": refused,
        "state": scheduler.status().state,
    }


def loop_closed_too_early() -> list[str]:
    """A loop that is gone when the answer comes: the scheduler goes on, and nobody warns."""
    with kalends.Scheduler(database) as scheduler:
        blocker = blocked()
        asked = scheduler.events.create("pulse", kalends.every(seconds=60), name="orphan")

        async def leave() -> None:
            asyncio.create_task(wait())  # noqa: RUF006  (nobody is to wait for it)
            await asyncio.sleep(0.05)

        async def wait() -> None:
            await asked

        asyncio.run(leave())
        blocker.close()
        return [asked.get().name, scheduler.list_events(name="orphan").items[0].name]


told = asyncio.run(main(), debug=False)
told["orphan"] = loop_closed_too_early()
gc.collect()
sys.stdout.write(json.dumps(told))
