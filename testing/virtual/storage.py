"""Storage in virtual time: each unit of work runs when its turn comes, with no thread.

Promises: transactions, savepoints, group commit and refusals are those of
``kalends.storage.engine``, for they are its code; what is in memory outlives a kill and a shutdown
as a file would. A *probe* is told of every step of every transaction and may break it, see
``kalends.testing.probing``.
"""

from __future__ import annotations

from typing import TypeVar

import peewee
from greenlet import GreenletExit

from kalends.errors import NotInitialized
from kalends.futures import Future, failed
from kalends.storage.dialect import Dialect
from kalends.storage.engine import Storage
from kalends.storage.facts import fact, put_fact
from kalends.storage.sqlite import SqliteDialect
from kalends.storage.workers import Unit
from kalends.testing.probing import Probe, ProbedWriter, StorageStep
from kalends.testing.virtual.process import VirtualProcess

__all__ = ["MemoryDialect", "Probe", "StorageStep", "VirtualStorage", "count_start"]

T = TypeVar("T")
_STARTS = "virtual_starts"


class MemoryDialect(SqliteDialect):
    """A database in memory that stays when its process ends."""

    def __init__(self) -> None:
        super().__init__(None, durability="normal", busy_timeout=0.0)
        self._kept: peewee.Database | None = None

    def connect(self, *, read_only: bool) -> peewee.Database:
        """The one connection there is."""
        if self._kept is None:
            self._kept = super().connect(read_only=read_only)
        return self._kept


class _VirtualWriter(ProbedWriter):
    """A writer without a thread: its turn comes by the process's loop."""

    def __init__(self, dialect: Dialect, process: VirtualProcess, probe: Probe | None) -> None:
        super().__init__("virtual-writer", dialect, probe)
        self._process = process
        self._turn_comes = False
        process.on_end.append(self._cut_off)

    def start(self) -> None:
        try:
            self._db = self._open()
        except BaseException as error:
            refusal = self._dialect.unavailable(error)
            if refusal is None:
                raise
            raise refusal from error

    def submit(self, unit: Unit[T]) -> Future[T]:
        if self._closing:
            return failed(NotInitialized("the storage is closed"))
        future: Future[T] = Future()
        self._queue.append((unit, future))
        if not self._turn_comes:
            self._turn_comes = True
            self._process.call(self._turn)
        return future

    def pick_up(self, db: peewee.Database) -> None:
        """What was killed in the middle of a transaction begins no other one while it unwinds."""
        if not self._process.alive:
            raise GreenletExit
        super().pick_up(db)

    def _turn(self) -> None:
        self._turn_comes = False
        assert self._db is not None
        while self._queue:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), self._group))]
            with self._guard:
                self.work(self._db, group)

    def close(self, timeout: float) -> bool:
        if self._db is not None and not self._closing:
            self._turn()
            self._closing = True
            self._leave()
        return True

    def _cut_off(self) -> None:
        """The process has ended: undo what was not committed."""
        self._closing = True
        self._queue.clear()
        db = self._db
        if db is not None and not db.is_closed():
            self._dialect.rollback(db)
            self._leave()

    def _leave(self) -> None:
        if self._db is not None and not self._dialect.shares_connections:
            self._db.close()


class VirtualStorage(Storage):
    """A database that one virtual process has open."""

    look_every = None
    """A look is cheap, and a year of them is not."""

    def __init__(
        self, dialect: Dialect, process: VirtualProcess, probe: Probe | None = None
    ) -> None:
        super().__init__(dialect, readers=0, writer=_VirtualWriter(dialect, process, probe))


def count_start(dialect: Dialect) -> int:
    """Which start of a virtual process on this database the next one is, from 1 on.

    Its ids are drawn by that number, so that worlds of one seed may share a database, beside each
    other or one after the other. Raises what opening the database raises.
    """
    dialect.prepare()
    try:
        db = dialect.connect(read_only=False)
        try:
            dialect.migrate(db)
            dialect.begin(db)
            number = _count(db)
            dialect.commit(db)
        finally:
            dialect.rollback(db)
            if not dialect.shares_connections:
                db.close()
    except BaseException as error:
        refusal = dialect.unavailable(error)
        if refusal is None:
            raise
        raise refusal from error
    return number


def _count(db: peewee.Database) -> int:
    number = int(fact(db, _STARTS) or 0) + 1
    put_fact(db, _STARTS, str(number))
    return number
