"""The threads behind the storage: workers run queries on a connection each, one commits units.

``kalends.storage.engine`` says what is promised of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import peewee

from kalends.clock import SystemClock
from kalends.errors import NotInitialized, StorageUnavailable
from kalends.futures import Future, failed
from kalends.logs import get_log
from kalends.native import NativeThread
from kalends.storage.dialect import Dialect
from kalends.storage.forks import ForkGuard
from kalends.storage.health import Health
from kalends.storage.portions import Item, Unit, runs, together
from kalends.storage.rest import Rest

__all__ = ["Chore", "Health", "Unit", "Worker", "Writer"]

T = TypeVar("T")
_log = get_log()
_AGAIN = 3
"""How often a group whose transaction was not to be is run again, at once."""
_UNDONE = ("deadlock", "stood_still")
"""What a transaction may meet that is gone with it, and nothing of it is left for certain."""

_KNOWN = ("full", "locked")
"""What a commit may meet that has not come to pass for certain."""


class _Failure(NamedTuple):
    """Why a transaction is void."""

    error: BaseException
    culprit: int | None
    """The place of the unit that met it; None: it was met at the beginning, or at the commit."""
    several: bool
    """True where the unit was made of several portions, from that place on."""
    undone: bool
    """True where nothing is left of it for certain, and running it again may do."""


class Worker:
    """A thread with one connection and a queue of jobs for it."""

    def __init__(self, name: str, dialect: Dialect, *, read_only: bool, group: int) -> None:
        self._dialect = dialect
        self._read_only = read_only
        self._group = group
        self._queue: deque[Item] = deque()
        self._rest = Rest()
        self._sleeping = False
        self._closing = False
        self._ended = False
        self._opened: Future[None] = Future()
        self._db: peewee.Database | None = None
        self._guard = ForkGuard(dialect.path, self._put_down)
        self.thread = NativeThread(self._run, name)

    def start(self) -> None:
        self.thread.start()
        self._opened.get()

    def submit(self, unit: Unit[T]) -> Future[T]:
        if self._closing:
            return failed(NotInitialized("the storage is closed"))
        future: Future[T] = Future()
        self._queue.append((unit, future))
        if self._sleeping:
            self._rest.rouse()
        if self._ended:
            self._refuse_rest()  # it came after the thread had looked for the last time
        return future

    def _refuse_rest(self) -> None:
        while True:
            try:
                _, future = self._queue.popleft()
            except IndexError:
                return
            future.resolve(None, NotInitialized("the storage is closed"))

    def close(self, timeout: float) -> bool:
        """Commit what waits, refuse what only wants to read, then end the thread; True when it did
        within ``timeout`` seconds.
        """
        self._closing = True
        self._rest.rouse()
        return self.thread.join(timeout)

    def _run(self) -> None:
        try:
            with self._guard:
                db = self._db = self._open()
        except BaseException as error:  # noqa: BLE001  (the opener's to handle)
            self._opened.resolve(None, self._dialect.unavailable(error) or error)
            return
        self._opened.resolve(None)
        while group := self._take():
            with self._guard:
                self.work(db, group)
        self._ended = True
        self._refuse_rest()
        with self._guard:
            self._let_go(db)
        self._rest.close()

    def _let_go(self, db: peewee.Database) -> None:
        """Close the connection. What is committed is durable already, whatever that meets."""
        try:
            db.close()
        except Exception as error:  # noqa: BLE001  (there is nobody left to tell)
            _log.error("close_failed", error=str(error))

    def _put_down(self) -> None:
        """Before a fork. What is in memory has no locks, and would be lost."""
        if self._db is not None and not self._dialect.shares_connections:
            self._db.close()

    def pick_up(self, db: peewee.Database) -> None:
        """Have the connection open: a fork closes it, and a database may break it off."""
        if not self._dialect.is_open(db):
            self._dialect.reopen(db, read_only=self._read_only)

    def _open(self) -> peewee.Database:
        db = self._dialect.connect(read_only=self._read_only)
        try:
            if not self._read_only:
                self._dialect.migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _take(self) -> list[Item]:
        """The next group, waiting for one; empty when closing and nothing is left to commit."""
        if self._closing and self._read_only:
            return []  # nobody is left to be answered; thousands of reports would take their time
        while not self._queue:
            if self._closing:
                return []
            self._sleeping = True
            if not self._queue and not self._closing:
                self._wait()
            self._sleeping = False
        return [self._queue.popleft() for _ in range(min(len(self._queue), self._group))]

    def _wait(self) -> None:
        """Sleep until somebody rouses the thread."""
        self._rest.wait()

    def work(self, db: peewee.Database, group: list[Item]) -> None:
        """Run the group, each query on one state of the database, and resolve its futures. Must not
        raise.
        """
        for query, future in group:
            try:
                self.pick_up(db)
                self._dialect.begin_read(db)
                try:
                    value = query(db)
                finally:
                    self._dialect.end_read(db)
            except BaseException as error:  # noqa: BLE001  (the asker's to handle)
                future.resolve(None, self._dialect.unavailable(error) or error)
            else:
                future.resolve(value)


class Chore(Generic[T]):
    """Work for the writer's connection between two transactions."""

    def __init__(self, function: Unit[T]) -> None:
        self._function = function

    def __call__(self, db: peewee.Database) -> T:
        return self._function(db)


class Writer(Worker):
    """The one thread that changes the database."""

    def __init__(self, name: str, dialect: Dialect) -> None:
        super().__init__(name, dialect, read_only=False, group=dialect.group)
        self.health = Health()
        self.on_commit: Callable[[], None] = lambda: None
        """Called after each commit, when all who waited for it have their answers."""
        self.commits = 0
        self.units = 0
        self._clock = SystemClock()
        self._on_others: Callable[[], None] | None = None
        self._look_every = self._look_at = 0.0

    def watch(self, on_others: Callable[[], None], every: float) -> Future[object]:
        """Call ``on_others`` where other processes have committed something; see
        ``Storage.watch``.
        """
        self._look_every, self._on_others = every, on_others
        # Of what this process commits next, to begin with.
        return self.submit(Chore(self._dialect.ask_for_word))

    def _wait(self) -> None:
        if self._on_others is None:
            super()._wait()
        elif not self._rest.wait(self._look_every):
            assert self._db is not None
            with self._guard:
                word = self._word(self._db)
            if word is not None and not self._wait_beside(word):
                with self._guard:
                    self._look(self._db)

    def _wait_beside(self, word: int) -> bool:
        try:
            return self._rest.wait_beside(word)
        except OSError:  # the system gives no more files: look again, as often as before
            return True

    def _word(self, db: peewee.Database) -> int | None:
        """What tells of all that others commit from now on; None: look again."""
        try:
            if self._look(db):
                word = self._dialect.ask_for_word(db)
                return word if self._look(db) else None
        except Exception:  # noqa: BLE001  (the next transaction meets it, and says so)
            return None
        return None

    def _look(self, db: peewee.Database) -> bool:
        """Tell of what others have committed; True where that is nothing."""
        self._look_at = self._clock.monotonic() + self._look_every
        try:
            self.pick_up(db)
            changed = self._dialect.others_committed(db)
        except Exception:  # noqa: BLE001  (the next transaction meets it, and says so)
            return False
        if changed and self._on_others is not None:
            self._on_others()
        return not changed

    def _put_down(self) -> None:
        super()._put_down()
        self._rest.rouse()  # to pick it up again: there is no word of a connection that is closed

    def _let_go(self, db: peewee.Database) -> None:
        super()._let_go(db)
        self._dialect.want_no_word()

    def work(self, db: peewee.Database, group: list[Item]) -> None:
        """Commit the units of the group, then do its chores, which want no transaction."""
        self._commit(db, [item for item in group if not isinstance(item[0], Chore)])
        for chore, future in group:
            if isinstance(chore, Chore):
                try:
                    self.pick_up(db)
                    value = chore(db)
                except BaseException as error:  # noqa: BLE001  (the asker's to handle)
                    future.resolve(None, self._dialect.unavailable(error) or error)
                else:
                    future.resolve(value)
        if self._on_others is not None and self._clock.monotonic() >= self._look_at:
            self._look(db)

    def _commit(self, db: peewee.Database, group: list[Item]) -> None:
        """Commit the group; where one unit voids the transaction, run the others without it."""
        again, apart = _AGAIN, False
        while group:
            failure = self._transaction(db, group, apart=apart)
            if failure is None:
                return
            if failure.undone and again:
                again -= 1
                continue
            if failure.several:
                apart = True
                continue
            if isinstance(failure.error, StorageUnavailable):
                self.health.update(failure.error)
            if failure.culprit is None:
                self._refuse(db, group, failure.error)
                return
            group.pop(failure.culprit)[1].resolve(None, failure.error)

    def _refuse(self, db: peewee.Database, group: list[Item], error: BaseException) -> None:
        """Answer with the error; where the disk is full, what is small may still fit on its own."""
        full = isinstance(error, StorageUnavailable) and error.details.get("reason") == "full"
        for unit, future in group:
            refusal: BaseException | None = error
            if full and len(group) > 1:
                failure = self._transaction(db, [(unit, future)])
                refusal = None if failure is None else failure.error
            if refusal is not None:
                future.resolve(None, refusal)

    def _transaction(
        self, db: peewee.Database, group: list[Item], *, apart: bool = False
    ) -> _Failure | None:
        """Run the units and commit; what made all of it void, if anything. ``apart``: each portion
        is a unit of its own.
        """
        answers: list[tuple[Any, BaseException | None]] = []
        at: int | None = None
        several = False
        try:
            self._dialect.check_identity()
            if self.health.corrupt is not None:
                raise self.health.corrupt
            self.pick_up(db)
            units = [[item] for item in group] if apart else list(runs(group))
            self.begin(db, alone=len(units) == 1)
            for run in units:
                if answers:
                    self._dialect.next_unit(db)
                at, several = len(answers), len(run) > 1
                answers += self._answers(db, run, alone=len(units) == 1)
            at, several = None, False
            self.commit(db)
        except BaseException as error:  # noqa: BLE001  (the askers' to handle)
            return self._void(db, error, at, several, committing=len(answers) == len(group))
        self.commits += 1
        self.units += len(group)
        self.health.update(None)
        for (_, future), (value, refusal) in zip(group, answers, strict=True):
            future.resolve(value, refusal)
        self.on_commit()
        return None

    def _answers(
        self, db: peewee.Database, run: Sequence[Item], *, alone: bool
    ) -> Sequence[tuple[Any, BaseException | None]]:
        """Values and errors of a unit, or of portions that are one; what failed is undone.

        ``alone``: it is the whole transaction, and voids it where it fails.
        """
        answers: list[tuple[Any, BaseException | None]] = []
        several = len(run) > 1
        value, error = self.run_unit(db, together(run) if several else run[0][0])
        if error is None:
            return [*value] if several else [(value, None)]
        if alone:
            raise error
        self._dialect.undo_unit(db)
        if not several:
            return [(None, error)]
        for item in run:  # each by itself
            if answers:
                self._dialect.next_unit(db)
            answers += self._answers(db, [item], alone=False)
        return answers

    def begin(self, db: peewee.Database, *, alone: bool) -> None:
        """Begin the transaction of a group, and its first unit, be it the only one."""
        self._dialect.begin(db, alone=alone)

    def commit(self, db: peewee.Database) -> None:
        """Make it durable."""
        self._dialect.commit(db)

    def run_unit(self, db: peewee.Database, unit: Unit[Any]) -> tuple[Any, BaseException | None]:
        """Value and error of one unit; raises what voids the transaction."""
        try:
            return unit(db), None
        except BaseException as error:
            unavailable = self._dialect.unavailable(error)
            if unavailable is not None or not self._dialect.in_transaction(db):
                if unavailable is None:
                    raise
                raise unavailable from error
            return None, error

    def _void(
        self,
        db: peewee.Database,
        error: BaseException,
        at: int | None,
        several: bool,
        *,
        committing: bool,
    ) -> _Failure:
        try:
            self._dialect.rollback(db)
        except Exception as second:  # noqa: BLE001  (the first error is the one to tell)
            _log.error("rollback_failed", error=str(second))
        unavailable = (
            error if isinstance(error, StorageUnavailable) else self._dialect.unavailable(error)
        )
        if unavailable is None:
            return _Failure(error, at, several, undone=False)
        reason = unavailable.details.get("reason")
        # A transaction that was not asked to commit goes with its connection.
        undone = reason in _UNDONE or (at is not None and not self._dialect.is_open(db))
        if committing and not undone and reason not in _KNOWN:
            unavailable.details["outcome"] = "unknown"
        return _Failure(unavailable, at, several, undone=undone)
