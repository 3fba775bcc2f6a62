"""Thousands of jobs that sleep at once, while what is due beside them is on time."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kalends import Execution, Registry, Scheduler, every, once
from kalends.clock import SystemClock, from_us
from kalends.futures import Future

GREENLETS, THREADS = 5_000, 200


class Sleepers:
    """Jobs that sleep until they are woken, and how many do."""

    def __init__(self) -> None:
        self.woken: Future[None] = Future(120.0)
        self._changed = threading.Condition()
        self._asleep = 0
        self.ended = 0

    def sleep(self) -> None:
        with self._changed:
            self._asleep += 1
            self._changed.notify_all()
        self.woken.get()
        with self._changed:
            self.ended += 1

    def wait(self) -> None:
        with self._changed:
            asleep = self._changed.wait_for(lambda: self._asleep == GREENLETS + THREADS, 120)
            assert asleep, self._asleep


def test_five_thousand_greenlets_and_two_hundred_threads_sleep_while_timers_are_on_time(
    tmp_path: Path, until: Callable[..., Any]
) -> None:
    sleepers, registry = Sleepers(), Registry()
    registry.register(sleepers.sleep, "sleep")

    async def tick() -> None: ...

    registry.register(tick, "tick")
    with Scheduler(
        tmp_path / "many.db", registry=registry, workers=THREADS, durability="normal", lease=120
    ) as scheduler:
        soon = once(from_us(SystemClock().now_us()))
        scheduler.schedule_events(
            {"job": "sleep", "trigger": soon, "executor": kind, "name": f"{kind}-{n}"}
            for kind, number in (("greenlet", GREENLETS), ("thread", THREADS))
            for n in range(number)
        )
        sleepers.wait()
        assert sleepers.ended == 0, "all of them, at once"
        running = {it.name: it.running for it in scheduler.status().executors}
        assert (running["greenlet"], running["thread"]) == (GREENLETS, THREADS)
        timer = scheduler.schedule_event("tick", every(seconds=0.05))
        ticks = until(lambda: ticked(scheduler, timer.id), 60.0)
        assert sleepers.ended == 0, "and all of them still"
        assert statistics.median(it.lateness for it in ticks) < 0.5
        sleepers.woken.resolve(None)
        until(lambda: scheduler.count_executions(fate="succeeded") > GREENLETS + THREADS, 120.0)
    assert sleepers.ended == GREENLETS + THREADS


def ticked(scheduler: Scheduler, event_id: str) -> tuple[Execution, ...]:
    """Twenty instants that have run, once there are so many."""
    found = scheduler.list_executions(event_id=event_id, fate="succeeded", limit=20).items
    return found if len(found) == 20 else ()
