"""schedule: one loop, which sleeps until the next job is due and runs it itself.

It has no single instants: a job that runs once is one that cancels itself (as its documentation
shows). Its instants are set directly, since its own vocabulary has whole seconds at best.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from typing import Any

import recording

__all__ = ["Subject"]


class Subject:
    """A scheduler and the thread that its documentation has its users write."""

    def __init__(self, folder: str) -> None:
        from schedule import CancelJob, Scheduler

        self.scheduler: Any = Scheduler()
        self._cancel: Any = CancelJob
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def start(self) -> None:
        threading.Thread(target=self._loop, daemon=True).start()

    def _loop(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                self.scheduler.run_pending()
                idle = self.scheduler.idle_seconds
            time.sleep(min(max(0.0, 1.0 if idle is None else idle), 0.05))

    def stop(self) -> None:
        self._ended.set()

    def add_at(self, instants: list[float]) -> None:
        for at in instants:
            self.add_one(at)

    def add_every(self, seconds: float, first: list[float]) -> None:
        for at in first:
            job = self.scheduler.every(1).seconds.do(recording.record, at)
            job.period, job.next_run = timedelta(seconds=seconds), datetime.fromtimestamp(at)  # noqa: DTZ006

    def add_one(self, instant: float) -> None:
        with self._lock:
            job = self.scheduler.every(1).seconds.do(self._once, instant)
            job.next_run = datetime.fromtimestamp(instant)  # noqa: DTZ006

    def _once(self, at: float) -> Any:
        recording.record(at)
        return self._cancel

    def settled(self) -> bool:
        return not self.scheduler.jobs
