"""A SQLite database that is only looked at: one that cannot be written, by whoever runs nothing.

Not a byte of the file changes, nor of its directory: SQLite makes no companions there. What nobody
has open is read as it lies; where a log lies beside it, that is read, too, as long as its index is
there. Somebody else may write to it all the same, who has the rights: then it is opened anew before
the next query. Every change is refused as ``read_only``.
"""

from __future__ import annotations

from pathlib import Path

import peewee
from playhouse.apsw_ext import APSWDatabase

from kalends.errors import StorageUnavailable
from kalends.storage.sqlite import SqliteDialect
from kalends.storage.sqlite_file import LOOKING, DatabaseFile

__all__ = ["SqliteReader"]


class SqliteReader(SqliteDialect):
    """One database file, to be read."""

    path: Path

    @staticmethod
    def suits(path: Path | None) -> bool:
        """Whether there is a file that cannot be written."""
        if path is None:
            return False
        try:
            return DatabaseFile(path, 0.0).obstacle() is not None
        except OSError:
            return False  # what is not there is not to be looked at

    def _prepare_file(self, path: Path) -> None:
        self._file = DatabaseFile(path, self._busy_timeout)
        self._file.check(to_write=False)
        self._remember(path)
        self._marks: dict[int, tuple[object, ...]] = {}
        """As each connection has found the file."""

    def connect(self, *, read_only: bool) -> peewee.Database:
        db: peewee.Database = APSWDatabase(
            self.location, thread_safe=False, timeout=self._busy_timeout, autoconnect=False
        )
        self._open(db, read_only)
        return db

    def _open(self, db: peewee.Database, read_only: bool) -> None:
        mark = self._file.mark()
        db.init(self._file.to_look(), timeout=self._busy_timeout, flags=LOOKING)
        db.connect()
        db.connection().execute("PRAGMA temp_store=FILE; PRAGMA query_only=ON")
        self._marks[id(db)] = mark

    def migrate(self, db: peewee.Database) -> None:
        """It has the present schema, or was refused."""

    def begin(self, db: peewee.Database, *, alone: bool = False) -> None:
        raise StorageUnavailable(
            f"{self.path} cannot be written: it is only looked at", reason="read_only"
        )

    def begin_read(self, db: peewee.Database) -> None:
        self.check_identity()
        if self._marks.get(id(db)) != self._file.mark():
            db.close()
            self.reopen(db, read_only=True)
        super().begin_read(db)

    def others_committed(self, db: peewee.Database) -> bool:
        """Nothing here waits for that: each query looks for itself."""
        return False

    def upkeep(self, db: peewee.Database) -> None:
        """It is whoever writes to it who sees to that."""
