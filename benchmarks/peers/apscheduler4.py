"""APScheduler 4 (alpha): its synchronous ``Scheduler`` on ``SQLAlchemyDataStore``, SQLite with WAL.

The driver is the standard library's, which its documentation prefers to aiosqlite.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import recording

__all__ = ["Subject"]


class Subject:
    """A scheduler whose store is open; ``start`` lets it run."""

    def __init__(self, folder: str) -> None:
        from apscheduler import Scheduler, TaskDefaults
        from apscheduler.datastores.sqlalchemy import SQLAlchemyDataStore
        from sqlalchemy import create_engine, event

        self._file = os.path.join(folder, "apscheduler.db")
        engine = create_engine("sqlite:///" + self._file)
        event.listen(engine, "connect", _durable)
        defaults = TaskDefaults(max_running_jobs=None, misfire_grace_time=None)
        self.scheduler: Any = Scheduler(SQLAlchemyDataStore(engine), task_defaults=defaults)
        self.scheduler.__enter__()
        self.scheduler.configure_task("record", func=recording.record)

    def start(self) -> None:
        self.scheduler.start_in_background()

    def stop(self) -> None:
        self.scheduler.stop()

    def add_at(self, instants: list[float]) -> None:
        for at in instants:
            self.add_one(at)

    def add_every(self, seconds: float, first: list[float]) -> None:
        from apscheduler.triggers.interval import IntervalTrigger

        for at in first:
            trigger = IntervalTrigger(seconds=seconds, start_time=_moment(at))
            self.scheduler.add_schedule("record", trigger, args=[at])

    def add_one(self, instant: float) -> None:
        from apscheduler.triggers.date import DateTrigger

        self.scheduler.add_schedule(
            "record",
            DateTrigger(_moment(instant)),
            args=[instant],
            job_result_expiration_time=timedelta(0),
        )

    def settled(self) -> bool:
        """A job that ran is removed; schedules that are over stay until its next clean-up.

        Read past it: its ``get_jobs`` reads its answer after it has given the connection back.
        """
        with closing(sqlite3.connect(self._file)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM jobs").fetchone()
        return not count


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _durable(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
