"""Units of work and queries: the only ways to the database.

``Storage.write(unit)`` runs ``unit(db)`` on the writer thread; ``Storage.read(query)`` runs
``query(db)`` on a reader thread that never waits for the writer. Both answer with a ``Future``,
resolved once the work is *committed*. Units that wait at the same time share one transaction, each
within a savepoint: they pay for one commit together, one that fails leaves no trace and does not
touch its neighbours. Units that are portions of one kind of work and wait side by side are run as
one, see ``storage.portions``. A unit may be run again when the transaction as a whole failed, so it
must have no effect but on the database.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kalends.futures import Future, resolved
from kalends.storage.dialect import Dialect
from kalends.storage.workers import Chore, Unit, Worker, Writer

__all__ = ["Storage"]

T = TypeVar("T")
_LONG = 3600.0
"""Seconds that a walk may take before whoever waits for it is told so."""


class Storage:
    """A database, open: one writer, ``readers`` reader threads, and the dialect that knows its
    ways.
    """

    look_every: float | None = 0.25
    """Seconds between two looks for what other processes have committed; None: nobody looks."""

    def __init__(self, dialect: Dialect, *, readers: int = 2, writer: Writer | None = None) -> None:
        """``readers=0``: the writer answers queries as well. ``writer``: None makes a thread."""
        self.dialect = dialect
        if dialect.shares_connections:
            self.look_every = None  # there is nobody else
        self._writer = Writer("kalends-writer", dialect) if writer is None else writer
        self.health = self._writer.health
        self._readers: list[Worker] = []
        self._reader_count = 0 if dialect.shares_connections else readers
        self._next_reader = 0

    def open(self) -> None:
        """Check or create the database, migrate it, start the threads.

        Raises ``StorageRefused`` for a file that cannot be used, ``StorageUnavailable`` for one
        that cannot now.
        """
        self.dialect.prepare()
        self._writer.start()
        try:
            for number in range(self._reader_count):
                reader = Worker(
                    f"kalends-reader-{number + 1}", self.dialect, read_only=True, group=1
                )
                reader.start()
                self._readers.append(reader)
        except BaseException:
            self.close(5.0)
            raise

    def write(self, unit: Unit[T]) -> Future[T]:
        """Run ``unit(db)`` in the next transaction; the answer comes after its commit."""
        return self._writer.submit(unit)

    def read(self, query: Unit[T]) -> Future[T]:
        """Run ``query(db)`` on a reader; it sees every write whose future is resolved."""
        return self._some_reader().submit(query)

    def walk(self, step: Unit[T | None]) -> Future[T]:
        """Run ``step(db)`` on one reader, again and again, until it answers other than None.

        Each step sees the database as it is by then, and other queries get their turn in between:
        a long look holds up neither them nor the tidying of what has been written.
        """
        reader = self._some_reader()
        answer: Future[T] = Future(timeout=_LONG)

        def look() -> None:
            reader.submit(step).add_done_callback(looked)

        def looked(done: Future[T | None]) -> None:
            if done.error is None and done.value is None:
                look()
            else:
                answer.resolve(done.value, done.error)

        look()
        return answer

    def _some_reader(self) -> Worker:
        """The readers in turn; where there is none, the writer."""
        if not self._readers:
            return self._writer
        self._next_reader = (self._next_reader + 1) % len(self._readers)
        return self._readers[self._next_reader]

    def upkeep(self) -> Future[None]:
        """Give the database its upkeep, on the writer's connection between two transactions.

        A connection of its own would hold the writer's lock, and units would be refused for it.
        """
        return self._writer.submit(Chore(self.dialect.upkeep))

    def watch(self, on_others: Callable[[], None]) -> Future[object]:
        """Call ``on_others``, on the writer's thread, after other processes have committed
        something: within ``look_every`` seconds, or when a transaction that is longer has ended.

        While nobody commits anything the writer sleeps, where the database or the system gives it
        word of the next commit. Whether it does is found out by a commit of its own after this has
        been answered.
        """
        if self.look_every is None:
            return resolved(None)
        return self._writer.watch(on_others, self.look_every)

    def others_committed(self) -> Future[bool]:
        """Whether other processes may have changed the ledger since anybody last looked."""
        return self._writer.submit(Chore(self.dialect.others_committed))

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` on the writer's thread after each commit; it must not wait or raise."""
        self._writer.on_commit = listener

    @property
    def commits(self) -> int:
        """Transactions committed since the storage was opened."""
        return self._writer.commits

    @property
    def units(self) -> int:
        """Units of work committed since the storage was opened."""
        return self._writer.units

    def close(self, timeout: float) -> bool:
        """Commit what waits and end the threads within ``timeout`` seconds each; True when they
        did.
        """
        ended = [worker.close(timeout) for worker in (*self._readers, self._writer)]
        return all(ended)
