"""Both kinds of database keep the contract, and what breaks it is found out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import peewee
import psycopg
import pytest

from kalends.storage.dialect import Dialect
from kalends.storage.postgres import Address, PostgresDialect
from kalends.storage.sqlite import SqliteDialect
from kalends.testing.storage_contract import StorageContract

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer


class TestSqlite(StorageContract):
    @pytest.fixture(autouse=True)
    def database(self, tmp_path: Path) -> None:
        self.path = tmp_path / "kalends.db"

    def make_dialect(self) -> Dialect:
        return SqliteDialect(self.path, durability="normal", busy_timeout=5.0)

    def lost_connection(self) -> BaseException:
        return apsw.IOError("disk I/O error")


class TestPostgres(StorageContract):
    @pytest.fixture(autouse=True)
    def database(self, postgres: PostgresServer) -> Any:
        self.url = postgres.lend()
        yield
        postgres.take_back(self.url)

    def make_dialect(self) -> Dialect:
        address = Address.read(self.url, patience=5.0)
        return PostgresDialect(address, durability="normal", busy_timeout=5.0)

    def lost_connection(self) -> BaseException:
        return psycopg.OperationalError("the connection is lost")


class Forgetful(SqliteDialect):
    """It acknowledges what it does not keep."""

    def commit(self, db: peewee.Database) -> None:
        self.rollback(db)


class Careless(SqliteDialect):
    """A failed unit leaves what it wrote."""

    def undo_unit(self, db: peewee.Database) -> None:
        """Nothing is undone."""


class Restless(SqliteDialect):
    """Its readers see every commit at once."""

    def begin_read(self, db: peewee.Database) -> None:
        """No transaction."""

    def end_read(self, db: peewee.Database) -> None:
        """No transaction."""


class Deaf(SqliteDialect):
    """It does not notice others."""

    def others_committed(self, db: peewee.Database) -> bool:
        return False


class Mute(SqliteDialect):
    """It takes what its driver says for a bug of somebody's."""

    def unavailable(self, error: BaseException) -> None:
        return None


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Forgetful, "test_what_was_acknowledged_is_there_when_it_is_opened_again"),
        (Careless, "test_a_failed_unit_is_undone_and_its_neighbours_are_not"),
        (Restless, "test_a_reader_sees_one_state_whatever_is_committed_meanwhile"),
        (Deaf, "test_what_others_commit_is_noticed_and_ones_own_is_not"),
        (Mute, "test_a_commit_whose_answer_is_lost_is_refused_as_unknown_and_may_be_repeated"),
    ],
)
def test_a_database_that_breaks_a_promise_is_found_out(
    broken: type[SqliteDialect], promise: str, tmp_path: Path
) -> None:
    class Broken(TestSqlite):
        patience = 2.0

        def make_dialect(self) -> Dialect:
            return broken(tmp_path / "kalends.db", durability="normal", busy_timeout=5.0)

    with pytest.raises((AssertionError, apsw.IOError)):
        getattr(Broken(), promise)()
