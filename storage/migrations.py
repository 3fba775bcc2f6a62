"""The schema's versions, and the way from each to the next.

``SCHEMA`` is the version this code reads and writes. ``migrate`` brings an older database there,
one step after the other, inside the transaction of its caller: a process killed half-way leaves the
old version whole. Steps are never edited after a release; a new version is a new entry.
"""

from __future__ import annotations

from collections.abc import Callable

from peewee import Database, SchemaManager

from kalends.errors import StorageRefused
from kalends.storage.models import TABLES, MetaRow

__all__ = ["MIGRATIONS", "SCHEMA", "TABLES", "create", "migrate", "recorded_version"]

MIGRATIONS: dict[int, Callable[[Database], None]] = {}
"""``MIGRATIONS[n]`` turns version n - 1 into version n."""

SCHEMA = 1


def create(db: Database) -> None:
    """Make every table and index in an empty database, at version ``SCHEMA``."""
    for table in TABLES:
        SchemaManager(table, database=db).create_all(safe=False)
    MetaRow.insert(key="schema", value=str(SCHEMA)).execute(db)


def recorded_version(db: Database) -> int:
    """The version the database says it has."""
    rows = list(MetaRow.select(MetaRow.value).where(MetaRow.key == "schema").tuples().execute(db))
    return int(rows[0][0])


def migrate(db: Database, steps: dict[int, Callable[[Database], None]], target: int) -> int:
    """Bring the schema to ``target``; returns the version found. Raises ``StorageRefused`` for a
    newer one.
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
    for version in range(found + 1, target + 1):
        steps[version](db)
        MetaRow.update(value=str(version)).where(MetaRow.key == "schema").execute(db)
    return found
