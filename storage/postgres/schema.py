"""The schema of a PostgreSQL database that is ours: found whole, or made whole in one transaction.

However many processes start at once, one of them makes it and the others find it: each looks while
it holds the lock that every writer takes.
"""

from __future__ import annotations

from collections.abc import Callable

import peewee
import psycopg

from kalends.errors import StorageRefused
from kalends.storage import migrations
from kalends.storage.postgres.address import Address
from kalends.storage.postgres.troubles import cause_of, reason_of

__all__ = [
    "CUT_OFF",
    "LOCK",
    "MIGRATIONS",
    "OLDEST_SERVER",
    "check_server",
    "ensure_schema",
    "refuse",
]

LOCK = 0x4B4C4E44
"""``KLND``: the advisory locks of this number are ours; the second one is the schema's."""
CUT_OFF = b"""
SELECT pg_terminate_backend(session.pid)
  FROM pg_locks holds JOIN pg_stat_activity session USING (pid)
 WHERE holds.locktype = 'advisory' AND holds.granted AND holds.objsubid = 2
   AND holds.database = session.datid AND session.datname = current_database()
   AND holds.classid = %s::bigint::oid AND holds.objid::bigint = hashtext(%s)::bigint & 4294967295
   AND session.usename = current_user AND session.wait_event_type = 'Client'
   AND session.state = 'active'
   AND clock_timestamp() - session.state_change > make_interval(secs => %s)
"""
"""Ends the session that holds a schema's lock, where its client has kept it waiting for so long in
the middle of a statement. Between statements the session's own time-out counts.
"""
OLDEST_SERVER = 140_000
MIGRATIONS: dict[int, Callable[[peewee.Database], None]] = {}
"""``MIGRATIONS[n]`` turns version n - 1 into version n, on PostgreSQL. Empty: it has had no other
version than the present one.
"""


def refuse(address: Address, reason: str, text: str) -> StorageRefused:
    """A refusal of the database as it is."""
    return StorageRefused(f"{address.shown} {text}", reason=reason)


def check_server(db: peewee.Database, address: Address) -> None:
    """Raises ``StorageRefused`` for a server that is too old, or whose text is not Unicode."""
    version = db.connection().info.server_version
    if version < OLDEST_SERVER:
        raise refuse(
            address,
            "server_too_old",
            f"is on PostgreSQL {version // 10_000}; {OLDEST_SERVER // 10_000} is the oldest that "
            "Kalends works with",
        )
    encoding = db.connection().info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise refuse(address, "encoding", f"is encoded in {encoding}; it has to be UTF8")


def ensure_schema(db: peewee.Database, address: Address) -> None:
    """Find our tables or make them, within the transaction of the caller, who holds the lock."""
    try:
        if _value(db, "SELECT to_regclass(%s)", f"{address.quoted}.kalends_meta") is None:
            _create(db, address)
        else:
            _check(db, address)
    except (psycopg.Error, peewee.PeeweeException) as error:
        reason = reason_of(error)
        if reason in ("denied", "read_only"):
            raise refuse(
                address, reason, f"cannot be made or read: {cause_of(error)}".strip()
            ) from error
        raise


def _create(db: peewee.Database, address: Address) -> None:
    if _value(db, "SELECT 1 FROM pg_namespace WHERE nspname = %s", address.schema) is None:
        db.execute_sql(f"CREATE SCHEMA {address.quoted}")
    taken = sorted(set(_tables(db, address)) & _names())
    if taken:
        raise refuse(
            address,
            "foreign",
            f"has tables of somebody else by our names: {', '.join(taken)}; give the database URL "
            "another schema, such as ?schema=kalends",
        )
    migrations.create(db)


def _check(db: peewee.Database, address: Address) -> None:
    found = _value(db, "SELECT value FROM kalends_meta WHERE key = %s", "schema")
    if not str(found).isdecimal() or int(str(found)) < 1:
        raise refuse(address, "corrupt", "does not say which schema version it has")
    version = int(str(found))
    if version > migrations.SCHEMA:
        raise refuse(
            address,
            "newer_schema",
            f"has schema version {version}; this Kalends knows {migrations.SCHEMA}: "
            "upgrade Kalends",
        )
    missing = sorted(_names() - set(_tables(db, address)))
    if missing and version == migrations.SCHEMA:
        raise refuse(address, "corrupt", f"lacks the tables {', '.join(missing)}")


def _names() -> set[str]:
    return {table._meta.table_name for table in migrations.TABLES}


def _tables(db: peewee.Database, address: Address) -> list[str]:
    found = db.execute_sql(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s)", (address.quoted,)
    )
    return [name for (name,) in found.fetchall()]


def _value(db: peewee.Database, sql: str, *parameters: object) -> object:
    row = db.execute_sql(sql, parameters).fetchone()
    return None if row is None else row[0]
