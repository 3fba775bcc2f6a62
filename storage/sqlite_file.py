"""The file of a SQLite database: created whole, and checked before SQLite may write to it."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import struct
from pathlib import Path

import apsw
import peewee
from playhouse.apsw_ext import APSWDatabase

from kalends.errors import StorageRefused
from kalends.storage import migrations

__all__ = ["LOOKING", "TROUBLES", "DatabaseFile"]

APPLICATION_ID = 0x4B4C4E44
"""``KLND`` in the file's header: the mark of a Kalends database."""

LOOKING = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
"""How a connection is opened that only reads."""
_MAGIC = b"SQLite format 3\x00"
_CHECKED_WHOLE = 32 * 1024 * 1024
"""Files up to this many bytes are checked page by page when opened; it takes some 10 ms for 16 MiB.
"""

TROUBLES = {
    "BusyError": "locked", "LockedError": "locked", "FullError": "full", "IOError": "io_error",
    "ReadOnlyError": "read_only", "CantOpenError": "unreachable", "CorruptError": "corrupt",
    "NotADBError": "corrupt", "ProtocolError": "locked", "NoMemError": "no_memory",
    "InterruptError": "interrupted",
}  # fmt: skip
"""What SQLite's errors mean, where they say that the database cannot be used now."""


class DatabaseFile:
    """The file at a path."""

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self.path = path
        self._busy_timeout = busy_timeout

    def check(self, *, to_write: bool = True) -> None:
        """Raise ``StorageRefused`` where it is not a whole database of a schema that is known, or
        cannot be written ``to_write`` into.
        """
        self._check_header(to_write)
        self._check_content(to_write)

    def obstacle(self) -> str | None:
        """Why it cannot be written; None: it can. Raises ``OSError`` where nobody can tell."""
        if not os.stat(self.path).st_mode & 0o222 or not os.access(self.path, os.W_OK):
            return "cannot be written"
        if not os.access(self.path.parent, os.W_OK):
            return "lies in a directory that cannot be written"
        return None

    def to_look(self, *, to_write: bool = False) -> str:
        """What SQLite is to open to read it without writing a byte, beside it neither, but for the
        index of its log where that is ours ``to_write``.
        """
        # Even a read-only connection makes a -shm file, unless it is told that nothing will change.
        if self._is_quiet():
            asked = "immutable=1"
        else:
            asked = "mode=ro" if to_write else "mode=ro&readonly_shm=1"
        return f"{self.path.absolute().as_uri()}?{asked}"

    def mark(self) -> tuple[object, ...]:
        """What is another one once somebody has written to it. Raises ``OSError``."""
        found = os.stat(self.path)
        return (found.st_ino, found.st_mtime_ns, found.st_size, self._is_quiet())

    def create(self) -> None:
        """Build the database beside its path and link it there: nobody ever sees half of one."""
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

    def _check_header(self, to_write: bool) -> None:
        """Refuse by the file's first bytes alone: SQLite touches nothing that is not ours."""
        try:
            found = os.stat(self.path)
            if not stat.S_ISREG(found.st_mode):
                raise self._refuse("not_a_database", "is not a regular file")
            obstacle = self.obstacle() if to_write else None
            if obstacle is not None:
                raise self._refuse("read_only", obstacle)
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
        location = self.path.absolute().as_uri() + "?immutable=1"
        try:
            connection = apsw.Connection(location, flags=LOOKING)
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

    def _check_content(self, to_write: bool) -> None:
        """Read the schema, and a file of moderate size page by page, without writing a byte."""
        quiet = self._is_quiet()
        try:
            self._read_through(to_write)
        except StorageRefused:
            if not quiet or self._is_quiet():
                raise
            # Another process began to write in between: what was read may have been two halves.
            self._read_through(to_write)

    def _read_through(self, to_write: bool) -> None:
        try:
            connection = apsw.Connection(self.to_look(to_write=to_write), flags=LOOKING)
        except apsw.Error as error:
            raise self._refuse("unreachable", f"cannot be opened: {error}") from error
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.set_busy_timeout(int(self._busy_timeout * 1000))
            self._check_schema(connection, to_write)
            if self.path.stat().st_size <= _CHECKED_WHOLE:
                verdict = connection.execute("PRAGMA quick_check(1)").fetchall()[0][0]
                if verdict != "ok":
                    raise self._refuse("corrupt", f"is damaged: {verdict}")
        except apsw.Error as error:
            if TROUBLES.get(type(error).__name__, "corrupt") == "corrupt":
                raise self._refuse("corrupt", f"is damaged: {error}") from error
            raise self._refuse("unreachable", f"cannot be read: {error}") from error
        finally:
            connection.close()

    def _check_schema(self, connection: apsw.Connection, to_write: bool) -> None:
        rows = connection.execute("SELECT value FROM kalends_meta WHERE key = 'schema'").fetchall()
        found = str(rows[0][0]) if rows else ""
        if not found.isdecimal():
            raise self._refuse("corrupt", "does not say which schema version it has")
        if int(found) > migrations.SCHEMA:
            raise self._refuse_newer(found)
        if int(found) < 1:
            raise self._refuse("corrupt", f"says that its schema version is {found}")
        if int(found) < migrations.SCHEMA and not to_write:
            raise self._refuse(
                "older_schema",
                f"has schema version {found}, and cannot be written to bring it to "
                f"{migrations.SCHEMA}: copy it, and open the copy",
            )
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
