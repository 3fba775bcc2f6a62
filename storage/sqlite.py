"""The SQLite dialect: opening, checking and creating the file, and what its errors mean.

A path either does not exist or holds a whole Kalends database: a new one is built beside it and
moved there in one step. A file that is not ours, or not usable, is refused with ``StorageRefused``
before SQLite may write to it. Files are created with mode 0600. Connections use WAL;
``durability="full"`` is ``synchronous=FULL`` (a commit survives a power cut), ``"normal"`` may lose
the last commits in one, never the file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import apsw
import peewee
from playhouse.apsw_ext import APSWDatabase

from kalends.errors import StorageRefused, StorageUnavailable
from kalends.storage import migrations
from kalends.storage.dialect import Dialect
from kalends.storage.forks import ForkGuard, check_not_carried

__all__ = ["SqliteDialect"]

APPLICATION_ID = 0x4B4C4E44
"""``KLND`` in the file's header: the mark of a Kalends database."""

_MAGIC = b"SQLite format 3\x00"
_SPELLING = peewee.SqliteDatabase(None)
"""Opens nothing: Peewee asks a database how to spell some clauses."""

_CHECKED_WHOLE = 32 * 1024 * 1024
"""Files up to this many bytes are checked page by page when opened; it takes some 10 ms for 16 MiB.
"""

_UNAVAILABLE = {
    "BusyError": "locked", "LockedError": "locked", "FullError": "full", "IOError": "io_error",
    "ReadOnlyError": "read_only", "CantOpenError": "unreachable", "CorruptError": "corrupt",
    "NotADBError": "corrupt", "ProtocolError": "locked", "NoMemError": "no_memory",
    "InterruptError": "interrupted",
}  # fmt: skip


class SqliteDialect(Dialect):
    """One SQLite database: a file, or with ``path=None`` the private memory of one connection."""

    name = "sqlite"

    def __init__(
        self, path: Path | None, *, durability: Literal["full", "normal"], busy_timeout: float
    ) -> None:
        self.path = path
        self._durability = durability
        self._busy_timeout = busy_timeout
        self._identity: tuple[int, int] | None = None
        self._data_version: int | None = None

        self.shares_connections = path is None

    @property
    def location(self) -> str:
        return ":memory:" if self.path is None else str(self.path)

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
        if not os.path.exists(path):  # Path.exists would raise where looking is forbidden
            self._create_file()
        self._check_header()
        self._check_content()
        found = os.stat(path)
        self._identity = (found.st_dev, found.st_ino)

    def connect(self, *, read_only: bool) -> peewee.Database:
        db: peewee.Database = APSWDatabase(
            self.location, thread_safe=False, timeout=self._busy_timeout, autoconnect=False
        )
        self._open(db, read_only)
        return db

    def reopen(self, db: peewee.Database, *, read_only: bool) -> None:
        self.check_identity()
        self._open(db, read_only)

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

    def begin(self, db: peewee.Database) -> None:
        # Not deferred: what a unit reads first would be out of date when it begins to write.
        db.connection().execute("BEGIN IMMEDIATE")

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

    def _create_file(self) -> None:
        """Build the database beside its path and link it there: nobody ever sees half of one."""
        assert self.path is not None
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}.new")
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            raise self._refuse("unreachable", f"cannot be created: {error.strerror}") from error
        try:
            _build(draft)
            # Where another process made it first, that one is used.
            with contextlib.suppress(FileExistsError):
                self._move(draft)
        except OSError as error:
            raise self._refuse("unreachable", f"cannot be created: {error.strerror}") from error
        except (apsw.Error, peewee.PeeweeException) as error:
            raise self._refuse("unreachable", f"cannot be created: {error}") from error
        finally:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{draft}{suffix}").unlink(missing_ok=True)

    def _move(self, draft: Path) -> None:
        assert self.path is not None
        try:
            os.link(draft, self.path)
        except FileExistsError:
            raise
        except OSError:
            # A file system without hard links. os.rename refuses to overwrite on Windows only.
            if self.path.exists():
                raise FileExistsError(self.path) from None
            os.rename(draft, self.path)
        _sync_directory(self.path.parent)

    def _check_header(self) -> None:
        """Refuse by the file's first bytes alone: SQLite touches nothing that is not ours."""
        assert self.path is not None
        try:
            found = os.stat(self.path)
            if not stat.S_ISREG(found.st_mode):
                raise self._refuse("not_a_database", "is not a regular file")
            if not found.st_mode & 0o222 or not os.access(self.path, os.W_OK):
                raise self._refuse("read_only", "cannot be written")
            if not os.access(self.path.parent, os.W_OK):
                raise self._refuse("read_only", "lies in a directory that cannot be written")
        except OSError as error:
            raise self._refuse("unreachable", f"cannot be read: {error.strerror}") from error
        header = self._read_header()
        if not header:
            raise self._refuse("not_a_database", "is empty; remove it to start a new database")
        if len(header) < 100 or not header.startswith(_MAGIC):
            raise self._refuse("not_a_database", "is not an SQLite database")
        version, application = struct.unpack_from(">I", header, 60)[0], header[68:72]
        if struct.unpack(">I", application)[0] != APPLICATION_ID:
            raise self._refuse("foreign", "belongs to another application")
        if version > migrations.SCHEMA:
            raise self._refuse_newer(version)
        self._check_length(header, found.st_size)

    def _read_header(self) -> bytes:
        """The file's first 100 bytes, by way of SQLite.

        Not by ``open``: closing the file would end the locks that this process's other connections
        have on it (https://sqlite.org/howtocorrupt.html, section 2.2).
        """
        assert self.path is not None
        location = self.path.absolute().as_uri() + "?immutable=1"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        try:
            connection = apsw.Connection(location, flags=flags)
            try:
                whole, header = connection.read("main", 0, 0, 100)
            finally:
                connection.close()
        except apsw.Error as error:
            raise self._refuse("unreachable", f"cannot be read: {error}") from error
        return header if whole else header.rstrip(b"\0")

    def _check_length(self, header: bytes, size: int) -> None:
        page_size = struct.unpack_from(">H", header, 16)[0]
        page_size = 65536 if page_size == 1 else page_size
        pages = struct.unpack_from(">I", header, 28)[0]
        if self._is_quiet() and page_size * pages > size:
            raise self._refuse("corrupt", f"is cut short: {size} of {page_size * pages} bytes")

    def _is_quiet(self) -> bool:
        """True where everything is in the main file: nobody has it open, or nothing was written
        since.
        """
        try:
            return os.stat(f"{self.path}-wal").st_size == 0
        except OSError:
            return True

    def _check_content(self) -> None:
        """Read the schema, and a file of moderate size page by page, without writing a byte."""
        quiet = self._is_quiet()
        try:
            self._read_through(immutable=quiet)
        except StorageRefused:
            if not quiet or self._is_quiet():
                raise
            # Another process began to write in between: what was read may have been two halves.
            self._read_through(immutable=False)

    def _read_through(self, *, immutable: bool) -> None:
        assert self.path is not None
        # Even a read-only connection makes a -shm file, unless it is told that nothing will change.
        location = self.path.absolute().as_uri() + ("?immutable=1" if immutable else "?mode=ro")
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        try:
            connection = apsw.Connection(location, flags=flags)
        except apsw.Error as error:
            raise self._refuse("unreachable", f"cannot be opened: {error}") from error
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.set_busy_timeout(int(self._busy_timeout * 1000))
            self._check_schema(connection)
            if self.path.stat().st_size <= _CHECKED_WHOLE:
                verdict = connection.execute("PRAGMA quick_check(1)").fetchall()[0][0]
                if verdict != "ok":
                    raise self._refuse("corrupt", f"is damaged: {verdict}")
        except apsw.Error as error:
            if _UNAVAILABLE.get(type(error).__name__, "corrupt") == "corrupt":
                raise self._refuse("corrupt", f"is damaged: {error}") from error
            raise self._refuse("unreachable", f"cannot be read: {error}") from error
        finally:
            connection.close()

    def _check_schema(self, connection: apsw.Connection) -> None:
        rows = connection.execute("SELECT value FROM kalends_meta WHERE key = 'schema'").fetchall()
        found = str(rows[0][0]) if rows else ""
        if not found.isdecimal():
            raise self._refuse("corrupt", "does not say which schema version it has")
        if int(found) > migrations.SCHEMA:
            raise self._refuse_newer(found)
        if int(found) < 1:
            raise self._refuse("corrupt", f"says that its schema version is {found}")
        if int(found) == migrations.SCHEMA:
            there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            missing = sorted({table._meta.table_name for table in migrations.TABLES} - there)
            if missing:
                raise self._refuse("corrupt", f"lacks the tables {', '.join(missing)}")

    def _refuse_newer(self, found: object) -> StorageRefused:
        return self._refuse(
            "newer_schema",
            f"has schema version {found}; this Kalends knows {migrations.SCHEMA}: upgrade Kalends",
        )

    def _refuse(self, reason: str, text: str) -> StorageRefused:
        return StorageRefused(
            f"{self.path} {text}; it was left untouched", reason=reason, path=str(self.path)
        )

    # -- running -------------------------------------------------------------------------------

    def check_identity(self) -> None:
        """The path has to name the file that was opened."""
        if self.path is None or self._identity is None:
            return
        try:
            found = os.stat(self.path)
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
        reason = _UNAVAILABLE.get(type(cause).__name__)
        if isinstance(cause, UnicodeDecodeError):  # text that nobody wrote through this code
            return StorageUnavailable(f"the database holds broken text: {cause}", reason="corrupt")
        if reason is None or not isinstance(cause, apsw.Error):
            return None
        return StorageUnavailable(f"the database is unavailable: {cause}", reason=reason)

    def in_transaction(self, db: peewee.Database) -> bool:
        return not db.connection().get_autocommit()

    def compile(self, query: Any) -> str:
        return str(_SPELLING.get_sql_context().sql(query).query()[0])

    def execute_many(self, db: peewee.Database, sql: str, rows: Sequence[Any]) -> int:
        connection = db.connection()
        before = connection.total_changes()
        connection.cursor().executemany(sql, rows)
        return int(connection.total_changes() - before)

    def others_committed(self, db: peewee.Database) -> bool:
        """``data_version`` of a connection moves with the commits of all others."""
        if self.path is None:
            return False
        version = db.connection().execute("PRAGMA data_version").fetchall()[0][0]
        before, self._data_version = self._data_version, version
        return before not in (None, version)

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


def _build(draft: Path) -> None:
    """Make a whole database in an empty file."""
    db = APSWDatabase(str(draft), thread_safe=False, autoconnect=False)
    db.connect()
    try:
        connection = db.connection()
        connection.execute(
            f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={migrations.SCHEMA};"
            "PRAGMA journal_mode=WAL; BEGIN IMMEDIATE"
        ).fetchall()
        migrations.create(db)
        connection.execute("COMMIT")
    finally:
        db.close()


def _sync_directory(directory: Path) -> None:
    """Make a new name in the directory survive a power cut, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
