"""Cancelling while claims are made, begin and end: from two processes, at any moment."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pendulum

from kalends import ExecutionEnded, Registry, Scheduler, current, once

LATER = pendulum.datetime(2999, 1, 1, tz="UTC")
EXECUTIONS = 120
POLICIES: list[dict[str, Any]] = [
    {},
    {"retries": 2, "retry_delay": 0.0},
    {"overlap": "buffer_all"},
    {"overlap": "allow_all", "priority": 5},
]


class Race:
    """A job that fails now and then, and what was cancelled before it had begun."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.registry.register(self.job, "job")
        self.made: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.go = threading.Event()
        self.begun: list[str] = []
        self.never_begun: set[str] = set()
        self.begun_after_all: list[str] = []

    def job(self) -> None:
        execution_id = current().execution_id
        if execution_id in self.never_begun:
            self.begun_after_all.append(execution_id)
        self.begun.append(execution_id)
        assert self.go.wait(60)
        if len(self.begun) % 3 == 0:
            raise RuntimeError("no")

    def cancel(self, scheduler: Scheduler) -> None:
        """Cancel what is made, as soon as it is."""
        while (execution_id := self.made.get(timeout=60)) is not None:
            try:
                found = scheduler.cancel_execution(execution_id)
            except ExecutionEnded:
                continue
            if found.fate == "cancelled" and len(found.attempts) < 2 and not found.started_at:
                self.never_begun.add(execution_id)


def test_whatever_is_cancelled_when_has_one_end_and_never_begins_after_the_answer(
    tmp_path: Path, until: Callable[..., Any]
) -> None:
    race, rng = Race(), random.Random(7)
    settings: dict[str, Any] = {"registry": race.registry, "environ": {}}
    path = tmp_path / "kalends.db"
    with (
        Scheduler(path, workers=2, **settings) as here,
        Scheduler(path, enabled=False, **settings) as elsewhere,
    ):
        events = [here.schedule_event("job", once(LATER), **each) for each in POLICIES]
        threads = [
            threading.Thread(target=race.cancel, args=(scheduler,))
            for scheduler in (here, elsewhere)
        ]
        for thread in threads:
            thread.start()
        for number in range(EXECUTIONS):
            if number == EXECUTIONS // 4:
                race.go.set()  # up to here two jobs at most have begun
            race.made.put(here.trigger_now(rng.choice(events).id).id)
        for _ in threads:
            race.made.put(None)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        for fate in ("pending", "running"):
            until(lambda fate=fate: not here.count_executions(fate=fate), seconds=60.0)
        assert race.never_begun
        assert race.begun_after_all == []
        for execution_id in race.never_begun:
            execution = here.get_execution(execution_id)
            assert (execution.fate, execution.reason) == ("cancelled", "requested")
        assert here.verify().violations == ()
