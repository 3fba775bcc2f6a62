"""The SQLite dialect: connections, transactions, and what its errors mean.

A path either does not exist or holds a whole Kalends database: a new one is built beside it and
moved there in one step. A file that is not ours, or not usable, is refused with ``StorageRefused``
before SQLite may write to it. Files are created with mode 0600. Connections use WAL;
``durability="full"`` is ``synchronous=FULL`` (a commit survives a power cut), ``"normal"`` may lose
the last commits in one, never the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import apsw
import peewee
from playhouse.apsw_ext import APSWDatabase

from kalends.errors import StorageUnavailable
from kalends.storage import migrations
from kalends.storage.dialect import Dialect
from kalends.storage.file_watch import FileWatch
from kalends.storage.forks import ForkGuard, check_not_carried
from kalends.storage.sqlite_file import TROUBLES, DatabaseFile
from kalends.storage.sqlite_rows import blocks

__all__ = ["SqliteDialect"]

_SPELLING = peewee.SqliteDatabase(None)
"""Opens nothing: Peewee asks a database how to spell some clauses."""


class SqliteDialect(Dialect):
    """One SQLite database: a file, or with ``path=None`` the private memory of one connection."""

    name = "sqlite"

    def __init__(
        self, path: Path | None, *, durability: Literal["full", "normal"], busy_timeout: float
    ) -> None:
        self.path = path
        self._location = ":memory:" if path is None else str(path)
        self._durability = durability
        self._busy_timeout = busy_timeout
        self._identity: tuple[int, int] | None = None
        self._data_version: int | None = None
        self._watch: FileWatch | None = None
        self.shares_connections = path is None

    @property
    def location(self) -> str:
        return self._location

    @property
    def files(self) -> tuple[str, ...]:
        if self.path is None:
            return ()
        return tuple(f"{self.path}{suffix}" for suffix in ("", "-wal", "-shm", "-journal"))

    # -- opening -------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make sure a whole database of the current schema is there.

        Raises ``StorageRefused``; in a forked child ``ForkedError``, see ``kalends.storage.forks``.
        """
        if self.path is not None:
            check_not_carried(self.path)
            with ForkGuard(self.path):
                self._prepare_file(self.path)

    def _prepare_file(self, path: Path) -> None:
        file = DatabaseFile(path, self._busy_timeout)
        if not os.path.exists(path):  # Path.exists would raise where looking is forbidden
            file.create()
        file.check()
        self._remember(path)

    def _remember(self, path: Path) -> None:
        """Which file it is."""
        found = os.stat(path)
        self._identity = (found.st_dev, found.st_ino)

    def connect(self, *, read_only: bool) -> peewee.Database:
        db: peewee.Database = APSWDatabase(
            self.location, thread_safe=False, timeout=self._busy_timeout, autoconnect=False
        )
        self._open(db, read_only)
        if not read_only:
            self.others_committed(db)  # what is committed from here on
        return db

    def reopen(self, db: peewee.Database, *, read_only: bool) -> None:
        self.check_identity()
        self._open(db, read_only)
        if not read_only:
            self._data_version = None  # a number of the connection before

    def _open(self, db: peewee.Database, read_only: bool) -> None:
        db.connect()
        try:
            self._set_up(db, read_only)
        except BaseException:
            db.close()
            raise

    def _set_up(self, db: peewee.Database, read_only: bool) -> None:
        connection = db.connection()
        if self.path is None:
            connection.execute("BEGIN IMMEDIATE")
            migrations.create(db)
            connection.execute("COMMIT")
        else:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
        level = "FULL" if self._durability == "full" else "NORMAL"
        # Savepoints keep their undo log in memory; what a report sorts must not grow there.
        temporary = "FILE" if read_only else "MEMORY"
        connection.execute(f"PRAGMA synchronous={level}; PRAGMA temp_store={temporary}")
        if not read_only:
            # Plans that do not depend on the values bound: SQLite would compile such statements
            # anew at each run, which takes four to ten times as long as to run them.
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        if read_only and self.path is not None:
            connection.execute("PRAGMA query_only=ON")

    def begin(self, db: peewee.Database, *, alone: bool = False) -> None:
        # Not deferred: what a unit reads first would be out of date when it begins to write.
        # Without a savepoint SQLite need not keep a copy of each page that the unit changes.
        db.connection().execute("BEGIN IMMEDIATE" if alone else "BEGIN IMMEDIATE; SAVEPOINT unit")

    def begin_read(self, db: peewee.Database) -> None:
        db.connection().execute("BEGIN")

    def end_read(self, db: peewee.Database) -> None:
        """A cursor that a failed query left open keeps the old state alive: then the connection is
        made anew.
        """
        connection = db.connection()
        if self.in_transaction(db):
            connection.execute("ROLLBACK")
        if connection.txn_state() != apsw.SQLITE_TXN_NONE:
            db.close()
            self.reopen(db, read_only=True)

    def migrate(self, db: peewee.Database) -> None:
        if migrations.recorded_version(db) == migrations.SCHEMA:
            return
        connection = db.connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            migrations.migrate(db, migrations.MIGRATIONS, migrations.SCHEMA)
            connection.execute(f"PRAGMA user_version={migrations.SCHEMA}; COMMIT")
        except BaseException:
            if self.in_transaction(db):
                connection.execute("ROLLBACK")
            raise

    # -- running -------------------------------------------------------------------------------

    def check_identity(self) -> None:
        """The path has to name the file that was opened."""
        if self.path is None or self._identity is None:
            return
        try:
            found = os.stat(self.location)
        except OSError as error:
            raise StorageUnavailable(
                f"{self.path} is gone: {error.strerror}", reason="replaced"
            ) from error
        if (found.st_dev, found.st_ino) != self._identity:
            raise StorageUnavailable(f"{self.path} was replaced by another file", reason="replaced")

    def unavailable(self, error: BaseException) -> StorageUnavailable | None:
        cause: BaseException = error
        if isinstance(error, peewee.PeeweeException):
            cause = getattr(error, "orig", None) or error.__cause__ or error
        reason = TROUBLES.get(type(cause).__name__)
        if isinstance(cause, UnicodeDecodeError):  # text that nobody wrote through this code
            return StorageUnavailable(f"the database holds broken text: {cause}", reason="corrupt")
        if reason is None or not isinstance(cause, apsw.Error):
            return None
        return StorageUnavailable(f"the database is unavailable: {cause}", reason=reason)

    def in_transaction(self, db: peewee.Database) -> bool:
        return not db.connection().get_autocommit()

    def compile(self, query: Any) -> str:
        return str(_SPELLING.get_sql_context().sql(query).query()[0])

    def execute_many(self, db: peewee.Database, statement: str, rows: Sequence[Any]) -> int:
        connection = db.connection()
        if len(rows) == 1:
            connection.execute(statement, rows[0])
            return int(connection.changes())
        before = connection.total_changes()
        for spelled, values in blocks(statement, rows):
            connection.executemany(spelled, values)
        return int(connection.total_changes() - before)

    def others_committed(self, db: peewee.Database) -> bool:
        """``data_version`` of a connection moves with the commits of all others."""
        if self.path is None:
            return False
        if self._watch is not None:
            self._watch.hear()
        version = db.connection().execute("PRAGMA data_version").fetchall()[0][0]
        before, self._data_version = self._data_version, version
        return bool(before != version)

    def ask_for_word(self, db: peewee.Database) -> int | None:
        """Of the next write into the log. A commit is visible some time after its last write: word
        of it would come too early, or not at all, if there were one under way.
        """
        if self.path is None:
            return None
        if self._watch is None:
            self._watch = FileWatch()
        connection = db.connection()
        word = self._watch.ask(connection.filename_wal)
        return word if word is not None and self._nobody_writes(connection) else None

    def _nobody_writes(self, connection: apsw.Connection) -> bool:
        connection.set_busy_timeout(0)
        try:
            connection.execute("BEGIN IMMEDIATE; ROLLBACK")
        except apsw.BusyError:
            return False
        finally:
            connection.set_busy_timeout(round(self._busy_timeout * 1000))
        return True

    def want_no_word(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def upkeep(self, db: peewee.Database) -> None:
        """Statistics, and a short write-ahead log."""
        connection = db.connection()
        # Bounded, for the writer waits: at most this many rows of each index are looked at.
        connection.execute("PRAGMA analysis_limit=400; PRAGMA optimize").fetchall()
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def damage(self, db: peewee.Database) -> Iterable[str]:
        """SQLite's own check of the whole file, in one go: pages, order, indexes."""
        for (words,) in db.connection().execute("PRAGMA integrity_check(100)").fetchall():
            if words != "ok":
                yield str(words)
