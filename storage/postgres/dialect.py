"""The PostgreSQL dialect: connections, transactions, and what its errors mean.

*One writer at a time*: each transaction that writes takes the schema's advisory lock as it begins,
so that units of work need no other, as on SQLite; see ``docs/design/decisions.md``. Whoever stands
still within a transaction is cut off while the others' leases last, by the server where that waits
for a statement, by those who wait for the lock where it sends or is sent one. It may run its units
again, for nothing is left of them.

*Nothing is lost with a connection*: one that broke while it was idle is made anew before anything
is sent twice; one that breaks within a transaction leaves nothing behind, and one that breaks in a
commit leaves an outcome nobody knows, and says so. While the server cannot be reached, attempts to
do so have pauses between them, up to a second each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import peewee
import psycopg
from psycopg.pq import TransactionStatus

from kalends.clock import SystemClock
from kalends.errors import StorageUnavailable
from kalends.storage import migrations
from kalends.storage.dialect import Dialect
from kalends.storage.postgres.address import Address
from kalends.storage.postgres.schema import (
    CUT_OFF,
    LOCK,
    MIGRATIONS,
    check_server,
    ensure_schema,
)
from kalends.storage.postgres.together import Together
from kalends.storage.postgres.troubles import cause_of, reason_of

__all__ = ["PostgresDialect"]

_PAUSE_FIRST, _PAUSE_LIMIT = 0.05, 1.0
_LONGEST = 60_000
"""Milliseconds that one statement of a writer may take: none takes a second, where all is well."""
_AGAIN = 4
"""How often a database is looked at, at most, where the connection is lost each time."""
_LOST = ("unreachable", "stood_still")
_STANDSTILL = 0.5
"""Seconds that a writer may stand still within a transaction in any case."""
_OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR, TransactionStatus.ACTIVE)


class _Database(peewee.PostgresqlDatabase):
    """Peewee's, with text that sorts by its bytes whatever the database's locale."""

    field_types = {**peewee.PostgresqlDatabase.field_types, "TEXT": 'TEXT COLLATE "C"'}  # noqa: RUF012  (as the class it is in place of)

    def _connect(self) -> Any:
        return psycopg.connect(self.database, autocommit=True)


_SPELLING = _Database(None, prefer_psycopg3=True)
"""Opens nothing: Peewee asks a database how to spell some clauses."""


class PostgresDialect(Dialect):
    """One schema of one PostgreSQL database."""

    name = "postgres"
    # Beyond 64 savepoints in a transaction every other session has to look on disk for them.
    group = 60

    def __init__(
        self,
        address: Address,
        *,
        durability: Literal["full", "normal"],
        busy_timeout: float,
        lease: float = 15.0,
    ) -> None:
        self.address = address
        self._durability = durability
        self._busy_timeout = busy_timeout
        self._standstill = max(_STANDSTILL, min(lease / 4, busy_timeout * 4 / 5))
        self._clock = SystemClock()
        self._pause = _PAUSE_FIRST
        self._not_before = 0.0
        self._last_failure: StorageUnavailable | None = None
        self._channel = f"kalends.{address.schema}"
        # Whoever listens is told where something was written, and not where nothing was.
        self._commit = (
            f"SELECT pg_notify('{self._channel}', '')"
            " WHERE pg_current_xact_id_if_assigned() IS NOT NULL; COMMIT"
        ).encode()
        self._heard = False
        """Whether others have committed something since this was last asked."""
        # For so long one waits for the lock before a look at who holds it.
        turn = max(round(min(self._standstill * 2, busy_timeout) * 1000), 1)
        patience = max(round(busy_timeout * 1000), 1)
        self._begin = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {turn};"
            f" SELECT pg_advisory_xact_lock({LOCK}, hashtext('{address.schema}'));"
            f" SET LOCAL lock_timeout = {patience}"
        )

    @property
    def location(self) -> str:
        return self.address.url

    # -- opening -------------------------------------------------------------------------------

    def prepare(self) -> None:
        for again in reversed(range(_AGAIN)):
            try:
                self._prepare()
            except (psycopg.Error, peewee.PeeweeException, StorageUnavailable) as error:
                refusal = self.unavailable(error)
                if refusal is None:
                    raise
                # A connection that was made and is lost: this process has stood still, perhaps.
                lost = refusal.details["reason"] in _LOST and self._last_failure is None
                if not (again and lost):
                    raise refusal from error
            else:
                return

    def _prepare(self) -> None:
        db = self.connect(read_only=False)
        try:
            check_server(db, self.address)
            self.begin(db)
            ensure_schema(db, self.address)
            db.connection().execute("COMMIT")
        finally:
            db.close()

    def connect(self, *, read_only: bool) -> peewee.Database:
        db: peewee.Database = _Database(
            self.address.conninfo, thread_safe=False, autoconnect=False, prefer_psycopg3=True
        )
        self._open(db, read_only)
        self._heard = False
        return db

    def reopen(self, db: peewee.Database, *, read_only: bool) -> None:
        if not db.is_closed():
            db.close()
        self._open(db, read_only)
        self._heard = True  # or missed, which is the same

    def is_open(self, db: peewee.Database) -> bool:
        return not db.is_closed() and not db.connection().closed

    def _open(self, db: peewee.Database, read_only: bool) -> None:
        if self._last_failure is not None and self._clock.monotonic() < self._not_before:
            raise StorageUnavailable(self._last_failure.message, **self._last_failure.details)
        try:
            db.connect()
            db.connection().execute(self._session(read_only).encode())
            if not read_only:
                self._listen(db.connection())
        except BaseException as error:
            if not db.is_closed():
                db.close()
            self._last_failure = self.unavailable(error)
            self._not_before = self._clock.monotonic() + self._pause
            self._pause = min(self._pause * 2, _PAUSE_LIMIT)
            raise
        self._last_failure, self._pause = None, _PAUSE_FIRST

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        """Others' commits notify."""
        connection.execute(f'LISTEN "{self._channel}"'.encode())
        own = connection.info.backend_pid

        def heard(told: psycopg.Notify) -> None:  # while a statement runs
            self._heard = self._heard or told.pid != own

        connection.add_notify_handler(heard)

    def _session(self, read_only: bool) -> str:
        """The settings of a connection."""
        patience = round(self._busy_timeout * 1000)
        settings = {
            "search_path": self.address.quoted,
            "client_encoding": "'UTF8'",
            "timezone": "'UTC'",
            "lock_timeout": max(patience, 1),
            # Statements here are small; compiling one takes longer than any of them.
            "jit": "off",
        }
        if read_only:
            settings["default_transaction_read_only"] = "on"
        else:
            # Before others lose their leases, or their patience, to one who holds the lock.
            settings["idle_in_transaction_session_timeout"] = round(self._standstill * 1000)
            settings["statement_timeout"] = _LONGEST
            if self._durability == "normal":
                settings["synchronous_commit"] = "off"
        statements = [f"SET {name} = {value}" for name, value in settings.items()]
        if self._durability == "full":
            statements.append(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
            )
        return "; ".join(statements)

    def migrate(self, db: peewee.Database) -> None:
        if migrations.recorded_version(db) == migrations.SCHEMA:
            return
        self.begin(db)
        try:
            migrations.migrate(db, MIGRATIONS, migrations.SCHEMA)
            self.commit(db)
        except BaseException:
            self.rollback(db)
            raise

    # -- transactions --------------------------------------------------------------------------

    def begin(self, db: peewee.Database, *, alone: bool = False) -> None:
        statements = self._begin if alone else f"{self._begin}; SAVEPOINT unit"
        patience = self._clock.monotonic() + self._busy_timeout
        while True:
            try:
                return self._first(db, statements, False)
            except psycopg.errors.LockNotAvailable:
                self.rollback(db)
                if self._clock.monotonic() >= patience:
                    raise
                if self.is_open(db):
                    self._cut_off(db)
                else:
                    self.reopen(db, read_only=False)

    def _cut_off(self, db: peewee.Database) -> None:
        """End the session that holds the lock, where the server has been waiting for its client:
        that one was stopped while it read an answer, or sent a statement.
        """
        db.connection().execute(CUT_OFF, (LOCK, self.address.schema, self._standstill))

    def begin_read(self, db: peewee.Database) -> None:
        self._first(db, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", True)

    def _first(self, db: peewee.Database, statement: str, read_only: bool) -> None:
        """The first statement of a transaction: where the connection turns out to be lost, nothing
        was sent before it, and it may go over another one.
        """
        try:
            db.connection().execute(statement.encode())
        except psycopg.OperationalError:
            if self.is_open(db):
                raise
            self.reopen(db, read_only=read_only)
            db.connection().execute(statement.encode())

    def commit(self, db: peewee.Database) -> None:
        cursor = db.connection().execute(self._commit)
        while cursor.nextset():
            continue
        if cursor.statusmessage != "COMMIT":
            # What PostgreSQL answers where a statement had failed, and nobody undid it.
            raise psycopg.errors.InFailedSqlTransaction("the transaction was rolled back")

    def rollback(self, db: peewee.Database) -> None:
        try:
            super().rollback(db)
        except psycopg.OperationalError:
            if self.is_open(db):
                raise  # else it went with its connection

    def end_read(self, db: peewee.Database) -> None:
        self.rollback(db)

    def in_transaction(self, db: peewee.Database) -> bool:
        return db.connection().info.transaction_status in _OPEN

    # -- running -------------------------------------------------------------------------------

    def unavailable(self, error: BaseException) -> StorageUnavailable | None:
        if isinstance(error, StorageUnavailable):
            return error
        reason = reason_of(error)
        if reason is None:
            return None
        words = str(cause_of(error)).strip() or type(cause_of(error)).__name__
        return StorageUnavailable(f"the database is unavailable: {words}", reason=reason)

    def compile(self, query: Any) -> Together:
        sql, _ = _SPELLING.get_sql_context().sql(query).query()
        return Together(sql, query, _Database.field_types)

    def execute_many(self, db: peewee.Database, statement: Together, rows: Sequence[Any]) -> int:
        return statement.run(db.connection(), rows)

    def others_committed(self, db: peewee.Database) -> bool:
        pgconn = db.connection().pgconn
        pgconn.consume_input()
        while (told := pgconn.notifies()) is not None:
            self._heard = self._heard or told.be_pid != pgconn.backend_pid
        heard, self._heard = self._heard, False
        return heard

    def ask_for_word(self, db: peewee.Database) -> int | None:
        """Others' notifications come by the connection."""
        return int(db.connection().fileno())

    def upkeep(self, db: peewee.Database) -> None:
        """Nothing: the server's autovacuum gathers statistics and takes away what is dead."""

    def damage(self, db: peewee.Database) -> Iterable[str]:
        """Indexes that the server itself does not trust. Pages are checked as they are read, where
        the server has checksums.
        """
        found = db.execute_sql(
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " WHERE NOT i.indisvalid AND c.relnamespace = to_regnamespace(%s)",
            (self.address.quoted,),
        )
        for (index,) in found.fetchall():
            yield f"the index {index} is not valid"
