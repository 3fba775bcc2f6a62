"""The seam between storage and the kind of database it stands on.

Stores and workers know one set of queries and this class; what SQLite and PostgreSQL do differently
is in its two subclasses. A dialect promises:

- *One writer at a time.* From ``begin`` to ``commit`` nobody else's transaction changes the ledger,
  in this process or another one: what a unit of work has read is true until it has committed.
- *One state for a reader.* From ``begin_read`` to ``end_read`` every query sees the same commits.
- *Text sorts by its bytes*, as Python sorts what is plain ASCII; keys are plain ASCII.
- A failure that means "not now" is a ``StorageUnavailable`` by way of ``unavailable``.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import peewee

from kalends.errors import StorageUnavailable

__all__ = ["Dialect"]


class Dialect(abc.ABC):
    """One database. Connections are made for one thread each; all else may be called anywhere."""

    name: str
    path: Path | None = None
    """The file that the database is, where it is one."""
    shares_connections = False
    """True where only one connection can see the data, so that readers have to use the writer's.
    """
    group = 512
    """How many units of work share a transaction at most."""

    @property
    @abc.abstractmethod
    def location(self) -> str:
        """What ``open_storage`` takes for this database again, a relative path made absolute."""

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of this machine that the database may consist of."""
        return ()

    # -- opening -------------------------------------------------------------------------------

    @abc.abstractmethod
    def prepare(self) -> None:
        """Make sure that a whole database is there. Raises ``StorageRefused`` and
        ``StorageUnavailable``.
        """

    @abc.abstractmethod
    def connect(self, *, read_only: bool) -> peewee.Database:
        """A new connection for the calling thread's own use; the caller closes it."""

    @abc.abstractmethod
    def reopen(self, db: peewee.Database, *, read_only: bool) -> None:
        """Connect again what was closed or lost, to the same database and no other."""

    @abc.abstractmethod
    def migrate(self, db: peewee.Database) -> None:
        """Bring the schema up to date in one transaction."""

    def is_open(self, db: peewee.Database) -> bool:
        """False where it has to be reopened before it can be used."""
        return not db.is_closed()

    # -- transactions --------------------------------------------------------------------------

    @abc.abstractmethod
    def begin(self, db: peewee.Database, *, alone: bool = False) -> None:
        """Begin a transaction that writes, and its first unit; ``alone``: there will be no other
        one, and it is undone with the transaction or not at all.
        """

    def next_unit(self, db: peewee.Database) -> None:
        """Begin the next unit of the transaction; what came before it stays."""
        db.connection().execute("RELEASE unit; SAVEPOINT unit")

    def undo_unit(self, db: peewee.Database) -> None:
        """Undo what was written since the unit began."""
        db.connection().execute("ROLLBACK TO unit")

    def commit(self, db: peewee.Database) -> None:
        """Make it durable, as durable as the settings say."""
        db.connection().execute("COMMIT")

    def rollback(self, db: peewee.Database) -> None:
        """Undo it, where one is open."""
        if not db.is_closed() and self.in_transaction(db):
            db.connection().execute("ROLLBACK")

    @abc.abstractmethod
    def begin_read(self, db: peewee.Database) -> None:
        """Begin a reader's transaction."""

    @abc.abstractmethod
    def end_read(self, db: peewee.Database) -> None:
        """End it, so that the next one sees what was committed since."""

    @abc.abstractmethod
    def in_transaction(self, db: peewee.Database) -> bool:
        """False where a failure has already ended the transaction."""

    # -- running -------------------------------------------------------------------------------

    def check_identity(self) -> None:
        """Raise ``StorageUnavailable`` where this is no longer the database that was opened."""
        return

    @abc.abstractmethod
    def unavailable(self, error: BaseException) -> StorageUnavailable | None:
        """``error`` as a refusal, where it says that the database cannot be used now; else None."""

    @abc.abstractmethod
    def compile(self, query: Any) -> Any:
        """The statement of a query whose values are given later, a row of them at a time, to
        ``execute_many``.
        """

    @abc.abstractmethod
    def execute_many(self, db: peewee.Database, statement: Any, rows: Sequence[Any]) -> int:
        """Run a compiled statement for every row; returns how many rows it changed or inserted. No
        two are about the same row of a table, but for inserts that leave alone what is there.
        """

    def others_committed(self, db: peewee.Database) -> bool:
        """Whether another process may have changed the ledger since this was last asked; of the
        writer's connection, between two transactions. It costs next to nothing.
        """
        return False

    def ask_for_word(self, db: peewee.Database) -> int | None:
        """A descriptor that can be read once another process has committed something after this;
        of the writer's connection, between two transactions. None: somebody has to look.

        What was committed before may be told of or not: look after it.
        """
        return None

    def want_no_word(self) -> None:
        """The writer ends."""
        return

    @abc.abstractmethod
    def upkeep(self, db: peewee.Database) -> None:
        """What a database in use needs now and then, on the writer's connection."""

    @abc.abstractmethod
    def damage(self, db: peewee.Database) -> Iterable[str]:
        """What the database's own check of itself finds, a sentence each."""
