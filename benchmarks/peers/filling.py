"""Stores many events for the peers: some through their own interface, copies of them by SQL.

A copy differs in its key alone. None of the peers looks inside of what is not due.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

from peers.catalogue import open_subject

__all__ = ["FILLERS"]

_LATER = 30 * 86_400.0
_APSCHEDULER3 = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    INSERT INTO apscheduler_jobs SELECT id || '-' || i, next_run_time, job_state
    FROM n, (SELECT * FROM apscheduler_jobs)"""
_HUEY = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    INSERT INTO schedule (queue, data, timestamp)
    SELECT queue, data, timestamp FROM n, (SELECT * FROM schedule)"""


def _apscheduler3(folder: str, count: int) -> None:
    subject = open_subject("apscheduler3", folder)
    subject.add_one(time.time() + _LATER)
    subject.stop()
    _copy(os.path.join(folder, "apscheduler.db"), _APSCHEDULER3, count - 1)


def _huey(folder: str, count: int) -> None:
    subject = open_subject("huey", folder)
    subject.add_one(time.time() + _LATER)
    subject.stop()
    _copy(os.path.join(folder, "huey.db"), _HUEY, count - 1)


def _copy(file: str, sql: str, copies: int) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(sql, (copies,))


FILLERS: dict[str, Callable[[str, int], None]] = {
    "apscheduler3": _apscheduler3,
    "huey_at_rest": _huey,
}
"""By the name of the contender: ``fill(folder, count)``."""
