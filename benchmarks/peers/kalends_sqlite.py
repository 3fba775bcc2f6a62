"""Kalends on a SQLite file, with its default settings."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import recording

from kalends import Registry, Scheduler, every, once

__all__ = ["Subject", "make_scheduler"]


def make_scheduler(database: str, **settings: Any) -> Scheduler:
    """A scheduler that knows the benchmarks' jobs, and no environment variables."""
    registry = Registry()
    registry.register(recording.record, "record")
    registry.register(recording.idle, "idle")
    for name in [name for name in os.environ if name.startswith("KALENDS_")]:
        del os.environ[name]
    return Scheduler(database, registry=registry, **settings)


class Subject:
    """A scheduler that runs from the moment it is made: it has to, to claim ahead."""

    def __init__(self, folder: str, **settings: Any) -> None:
        self.scheduler = make_scheduler(os.path.join(folder, "kalends.db"), **settings).start()
        self._added = 0

    def start(self) -> None:
        """It runs already."""

    def stop(self) -> None:
        self.scheduler.shutdown()

    def add_at(self, instants: list[float]) -> None:
        for begin in range(0, len(instants), 50_000):
            self.scheduler.schedule_events(
                {"job": "record", "trigger": once(_moment(at)), "args": [at]}
                for at in instants[begin : begin + 50_000]
            )
        self._added += len(instants)

    def add_every(self, seconds: float, first: list[float]) -> None:
        self.scheduler.schedule_events(
            {"job": "record", "args": [at], "trigger": every(seconds=seconds, anchor=_moment(at))}
            for at in first
        )

    def add_one(self, instant: float) -> None:
        self.scheduler.schedule_event("record", once(_moment(instant)), args=[instant])

    def settled(self) -> bool:
        """As the database has it: every event has run and ended."""
        ended = self.scheduler.count_executions(fate="succeeded")
        return ended == self._added


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
