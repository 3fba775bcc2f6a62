"""APScheduler 3: ``BackgroundScheduler`` on ``SQLAlchemyJobStore`` with WAL, or in memory.

Late runs are not dropped (``misfire_grace_time=None``) and one job's runs may overlap, since others
do that too. It has no way to add many at once; jobs are stored one commit each.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import recording

__all__ = ["Subject"]


class Subject:
    """Started paused, so that what is stored before the start is stored as later on."""

    def __init__(self, folder: str, *, memory: bool = False) -> None:
        from apscheduler.schedulers.background import BackgroundScheduler

        store = _memory() if memory else _sqlite(folder)
        defaults = {"misfire_grace_time": None, "coalesce": False, "max_instances": 1000}
        self.scheduler: Any = BackgroundScheduler(
            jobstores={"default": store}, job_defaults=defaults, timezone="UTC"
        )
        self.scheduler.start(paused=True)

    def start(self) -> None:
        self.scheduler.resume()

    def stop(self) -> None:
        self.scheduler.shutdown()

    def add_at(self, instants: list[float]) -> None:
        for at in instants:
            self.add_one(at)

    def add_every(self, seconds: float, first: list[float]) -> None:
        from apscheduler.triggers.interval import IntervalTrigger

        for at in first:
            trigger = IntervalTrigger(seconds=seconds, start_date=_moment(at), timezone="UTC")
            self.scheduler.add_job(recording.record, trigger, args=[at])

    def add_one(self, instant: float) -> None:
        self.scheduler.add_job(recording.record, "date", run_date=_moment(instant), args=[instant])

    def settled(self) -> bool:
        """A job that has run is removed from the store before it runs."""
        return not self.scheduler.get_jobs()


def _memory() -> Any:
    from apscheduler.jobstores.memory import MemoryJobStore

    return MemoryJobStore()


def _sqlite(folder: str) -> Any:
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from sqlalchemy import create_engine, event

    engine = create_engine("sqlite:///" + os.path.join(folder, "apscheduler.db"))
    event.listen(engine, "connect", _durable)
    return SQLAlchemyJobStore(engine=engine)


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _durable(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
