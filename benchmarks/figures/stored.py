"""Fills databases by SQL, in a fraction of the time that using them would take.

What comes out is what use would have left: ``verify`` finds nothing wrong with it, which the quick
form of ``history`` asserts.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import apsw
from peers.kalends_sqlite import make_scheduler

from kalends import every

__all__ = ["US", "build_history", "multiply_events", "store_events"]

US = 1_000_000
_BESIDE = timedelta(seconds=1)
"""Between the instants of two events, which leaves room for a thousand copies of each."""
_ID = "printf('%08x-%04x-7%03x-8%03x-%012x', {ms} >> 16, {ms} & 65535, {low} % 4096, {low} / 4096, {low})"  # noqa: E501
"""An id of version 7: sorted by its milliseconds."""


def store_events(file: str, count: int, *, period: float = 86_400.0 * 30) -> None:
    """``count`` repeating events that are due in a month."""
    first = min(count, 1000)
    anchor = datetime.fromtimestamp(int(time.time() - period / 3), UTC)
    with make_scheduler(file) as scheduler:
        scheduler.schedule_events(
            {"job": "idle", "trigger": every(seconds=period, anchor=anchor + number * _BESIDE)}
            for number in range(first)
        )
    multiply_events(file, count // first)


def multiply_events(file: str, times: int) -> None:
    """Make ``times`` events of each one that is stored, each due a millisecond after the other."""
    connection = _hasty(file)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(events)")]
    shifted = ("id", "name", "trigger", "next_due")
    kept = ", ".join(column for column in columns if column not in shifted)
    now, low = int(time.time() * 1000), "(row_number() OVER ())"
    made = _ID.format(ms=now, low=low)
    with connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"  # noqa: S608
            f"INSERT INTO events (id, name, trigger, next_due, {kept}) "
            f"SELECT {made}, name || '-' || i, "
            "replace(trigger, 'Z\"', printf('.%03dZ\"', i)), next_due + i * 1000, "
            f"{kept} FROM n, (SELECT * FROM events) WHERE i < ?",
            (times, times),
        ).fetchall()
    _settle(connection)


def build_history(
    file: str, *, events: int, each: int, period: float, ended: float, failed_every: int = 100
) -> None:
    """A ledger of ``events`` events with ``each`` executions, the last of them ``ended`` seconds
    ago. One in ``failed_every`` failed.
    """
    step, end = int(period * US), (int(time.time() - ended) // 60 * 60) * US
    start = end - each * step
    anchor = datetime.fromtimestamp(start // US, UTC)
    with make_scheduler(file) as scheduler:
        scheduler.schedule_events(
            {"job": "idle", "trigger": every(seconds=period, anchor=anchor)} for _ in range(events)
        )
        node = scheduler.status().node
    connection = _hasty(file)
    # Made anew at the end, by sorting, which takes a third of the time.
    indexes = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE name IN ('executions_due', 'executions_time')"
    ).fetchall()
    connection.execute("DROP INDEX executions_due; DROP INDEX executions_time")
    with connection:
        connection.execute(
            "UPDATE events "
            "SET accounted_from = ?1, rule_since = ?1, created_at = ?1, next_due = ?2",
            (start + 1, end + step),
        )
        key = _ID.format(ms="((?1 + i * ?2) / 1000)", low="e")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?3), "  # noqa: S608
            "k(id, e) AS MATERIALIZED (SELECT id, row_number() OVER (ORDER BY id) FROM events) "
            "INSERT INTO executions (id, event_id, due, version, fate, attempt, node, claimed_at, "
            "started_at, ended_at, ready_at, manual, error) "
            f"SELECT {key}, k.id, ?1 + i * ?2, 1, "
            "CASE WHEN (i + e) % ?5 THEN 'succeeded' ELSE 'failed' END, 1, ?4, "
            "?1 + i * ?2 - 250000, ?1 + i * ?2 + 150 + (i * 37 + e) % 500, "
            "?1 + i * ?2 + 900 + (i * 101 + e) % 9000, ?1 + i * ?2, 0, "
            "CASE WHEN (i + e) % ?5 THEN NULL ELSE ?6 END FROM n CROSS JOIN k",
            (start, step, each, node, failed_every, '{"type":"ValueError","message":"bad"}'),
        )
    for (sql,) in indexes:
        connection.execute(str(sql))
    _settle(connection)


def _hasty(file: str) -> apsw.Connection:
    connection = apsw.Connection(os.fspath(file))
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def _settle(connection: apsw.Connection) -> None:
    connection.execute("PRAGMA optimize").fetchall()
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    file = connection.filename
    connection.close()
    # Gigabytes that the system has not written yet would be the next commit's to wait for.
    with open(file, "rb") as written:
        os.fsync(written)
