"""The schema's versions, and the way from each to the next.

``SCHEMA`` is the version this code reads and writes. ``migrate`` brings an older database there,
one step after the other, inside the transaction of its caller: a process killed half-way leaves the
old version whole. Steps are never edited after a release; a new version is a new entry.
"""

from __future__ import annotations

from collections.abc import Callable

from peewee import Database, SchemaManager, SqliteDatabase

from kalends.errors import StorageRefused
from kalends.storage.models import TABLES, MetaRow

__all__ = ["MIGRATIONS", "SCHEMA", "TABLES", "create", "migrate", "recorded_version"]

SCHEMA = 5

_SQLITE_TABLES = " STRICT, WITHOUT ROWID"
"""Columns hold what they are declared to, and rows lie in the order of their keys."""

_POLICIES = """
ALTER TABLE events ADD COLUMN paused_until INTEGER;
ALTER TABLE events ADD COLUMN streak_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN limit_name TEXT;
ALTER TABLE events ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN serial INTEGER NOT NULL DEFAULT 1;
UPDATE events SET serial = 0 WHERE policies LIKE '%"overlap":"allow_all"%';
DROP INDEX events_due;
CREATE INDEX events_due ON events (status, next_due, id, limit_name);
CREATE INDEX events_limited ON events (limit_name, priority DESC, next_due)
    WHERE ((status = 'active') AND (limit_name IS NOT NULL));
CREATE INDEX events_pause_ends ON events (paused_until) WHERE (paused_until IS NOT NULL);
ALTER TABLE executions ADD COLUMN ready_at INTEGER;
ALTER TABLE executions ADD COLUMN moved_to INTEGER;
ALTER TABLE executions ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE executions ADD COLUMN limit_name TEXT;
ALTER TABLE executions ADD COLUMN batch TEXT;
ALTER TABLE executions ADD COLUMN cancel INTEGER NOT NULL DEFAULT 0;
ALTER TABLE executions ADD COLUMN still_running INTEGER NOT NULL DEFAULT 0;
UPDATE executions SET ready_at = due WHERE ended_at IS NULL;
DROP INDEX executions_open;
CREATE INDEX executions_open ON executions (event_id, attempt) WHERE (ended_at IS NULL);
DROP INDEX executions_unowned;
CREATE INDEX executions_unowned ON executions (ready_at)
    WHERE ((node IS NULL) AND (ended_at IS NULL));
CREATE INDEX executions_line ON executions (event_id, ready_at, due)
    WHERE ((node IS NULL) AND (ended_at IS NULL));
CREATE INDEX executions_limited ON executions (limit_name)
    WHERE (((limit_name IS NOT NULL) AND (node IS NOT NULL)) AND (ended_at IS NULL));
CREATE INDEX executions_still_running ON executions (node) WHERE (still_running = 1);
ALTER TABLE gaps ADD COLUMN node TEXT;
CREATE INDEX executions_batch ON executions (batch, due) WHERE (batch IS NOT NULL)
"""


def _policies(db: Database) -> None:
    """Version 2: what retries, limits, moved instants, backfills and pauses that end need."""
    for statement in _POLICIES.split(";"):
        db.execute_sql(statement)


_DECLARED = """
ALTER TABLE events ADD COLUMN declared_by TEXT;
CREATE INDEX events_declared ON events (declared_by) WHERE (declared_by IS NOT NULL)
"""


def _declared(db: Database) -> None:
    """Version 3: which events the code declares."""
    for statement in _DECLARED.split(";"):
        db.execute_sql(statement)


_TOLD = """
ALTER TABLE executions ADD COLUMN progress REAL;
ALTER TABLE executions ADD COLUMN note TEXT;
ALTER TABLE executions ADD COLUMN log TEXT;
ALTER TABLE attempts ADD COLUMN progress REAL;
ALTER TABLE attempts ADD COLUMN note TEXT;
ALTER TABLE attempts ADD COLUMN log TEXT;
CREATE INDEX executions_called_off ON executions (node)
    WHERE ((cancel != 0) AND (ended_at IS NULL))
"""


def _told(db: Database) -> None:
    """Version 4: what jobs tell while they run, and what was called off, found at once."""
    for statement in _TOLD.split(";"):
        db.execute_sql(statement)


_RUNNING_ON = """
ALTER TABLE attempts ADD COLUMN still_running INTEGER NOT NULL DEFAULT 0;
CREATE INDEX attempts_still_running ON attempts (node) WHERE (still_running = 1)
"""


def _running_on(db: Database) -> None:
    """Version 5: which attempts that were followed by others have jobs that run on."""
    for statement in _RUNNING_ON.split(";"):
        db.execute_sql(statement)


MIGRATIONS: dict[int, Callable[[Database], None]] = {
    2: _policies, 3: _declared, 4: _told, 5: _running_on,
}  # fmt: skip
"""``MIGRATIONS[n]`` turns version n - 1 into version n."""


def create(db: Database) -> None:
    """Make every table and index in an empty database, at version ``SCHEMA``."""
    options = _SQLITE_TABLES if isinstance(db, SqliteDatabase) else ""
    for table in TABLES:
        manager = SchemaManager(table, database=db)
        statement, values = manager._create_table(safe=False).query()  # type: ignore[attr-defined]  # the stubs leave it out
        db.execute_sql(statement + options, values)
        manager.create_indexes(safe=False)
    MetaRow.insert(key="schema", value=str(SCHEMA)).execute(db)


def recorded_version(db: Database) -> int:
    """The version the database says it has."""
    rows = list(MetaRow.select(MetaRow.value).where(MetaRow.key == "schema").tuples().execute(db))
    return int(rows[0][0])


def migrate(db: Database, steps: dict[int, Callable[[Database], None]], target: int) -> int:
    """Bring the schema to ``target``; returns the version found. Raises ``StorageRefused`` for a
    newer one, and for one that there is no way from.
    """
    found = recorded_version(db)
    if found > target:
        raise StorageRefused(
            f"the database has schema version {found}; this Kalends knows {target}: "
            "upgrade Kalends",
            reason="newer_schema",
            found=found,
            known=target,
        )
    if missing := [version for version in range(found + 1, target + 1) if version not in steps]:
        raise StorageRefused(
            f"the database has schema version {found}, and this Kalends knows no way from there to "
            f"{missing[0]}: it was never released for this kind of database",
            reason="older_schema",
            found=found,
            known=target,
        )
    for version in range(found + 1, target + 1):
        steps[version](db)
        MetaRow.update(value=str(version)).where(MetaRow.key == "schema").execute(db)
    return found
