"""Huey: ``SqliteHuey`` (WAL, ``fsync``) or ``MemoryHuey``, with its consumer on threads here.

Results are not stored, which is faster. Its scheduler looks once a second, its shortest interval;
its workers look every 10 ms, instead of every 100 ms and slower, unless ``patient``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import recording

__all__ = ["Subject"]


class Subject:
    """A queue and, once started, a consumer in this process."""

    def __init__(self, folder: str, *, memory: bool = False, patient: bool = False) -> None:
        from huey import MemoryHuey, SqliteHuey

        self.huey: Any
        if memory:
            self.huey = MemoryHuey(results=False)
        else:
            file = os.path.join(folder, "huey.db")
            self.huey = SqliteHuey(filename=file, fsync=True, results=False, timeout=30)
        self._record = self.huey.task()(recording.record)
        self._often = {} if patient else {"initial_delay": 0.01, "max_delay": 0.01, "backoff": 1.0}
        self._consumer: Any = None

    def start(self) -> None:
        self._consumer = self.huey.create_consumer(workers=4, scheduler_interval=1, **self._often)
        self._consumer.start()

    def stop(self) -> None:
        if self._consumer is not None:
            self._consumer.stop(graceful=True)

    def add_at(self, instants: list[float]) -> None:
        for at in instants:
            self.add_one(at)

    def add_every(self, seconds: float, first: list[float]) -> None:
        raise NotImplementedError("its periodic tasks have whole minutes")

    def add_one(self, instant: float) -> None:
        self._record.schedule((instant,), eta=datetime.fromtimestamp(instant, UTC))

    def settled(self) -> bool:
        storage = self.huey.storage
        return not storage.schedule_size() and not storage.queue_size()
