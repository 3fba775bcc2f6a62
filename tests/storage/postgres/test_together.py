"""One statement for many rows: the same as one for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import peewee
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.storage.engine import Storage
from kalends.storage.models import AttemptRow, JournalRow, MetaRow
from kalends.storage.postgres import Address, PostgresDialect

WAIT = 20.0
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
ROWS = st.lists(
    st.tuples(st.none() | TEXTS, st.none() | st.integers(-(2**62), 2**62), st.none() | st.floats()),
    max_size=6,
)
INSERT = AttemptRow.insert(
    execution_id="", number=0, node=None, claimed_at=0, ended_at=None, outcome="", progress=None
)
UPDATE = AttemptRow.update(node=None, ended_at=None, progress=None).where(
    AttemptRow.execution_id == "", AttemptRow.number == 0
)


class Bench:
    """A ledger to write in, by one transaction."""

    def __init__(self, dialect: PostgresDialect, db: peewee.Database) -> None:
        self.dialect = dialect
        self.db = db

    def run(self, query: Any, rows: list[tuple[Any, ...]]) -> int:
        return self.dialect.execute_many(self.db, self.dialect.compile(query), rows)

    def attempts(self) -> list[tuple[Any, ...]]:
        query = AttemptRow.select(AttemptRow.node, AttemptRow.ended_at, AttemptRow.progress)
        return [tuple(row) for row in query.order_by(AttemptRow.number).tuples().execute(self.db)]


@pytest.fixture(scope="module")
def dialect(postgres: Any) -> Iterator[tuple[PostgresDialect, peewee.Database]]:
    address = Address.read(postgres.url(), patience=5.0)
    made = PostgresDialect(address, durability="normal", busy_timeout=60.0)
    made.prepare()
    db = made.connect(read_only=False)
    yield made, db
    db.close()


@pytest.fixture
def bench(dialect: tuple[PostgresDialect, peewee.Database]) -> Iterator[Bench]:
    made, db = dialect
    made.begin(db)
    yield Bench(made, db)
    made.rollback(db)


def same(found: Any, given: Any) -> bool:
    return repr(found) == repr(given)  # NaN is not equal to itself


@given(rows=ROWS)
def test_values_arrive_as_they_were_given(dialect: Any, rows: list[tuple[Any, ...]]) -> None:
    made, db = dialect
    bench = Bench(made, db)
    made.begin(db)
    try:
        keyed = [('é"\\', number, None, 0, None, "NULL", None) for number in range(len(rows))]
        assert bench.run(INSERT, keyed) == len(rows)
        changes = [(*row, 'é"\\', number) for number, row in enumerate(rows)]
        assert bench.run(UPDATE, changes) == len(rows)
        assert same(bench.attempts(), rows)
    finally:
        made.rollback(db)


def test_more_rows_than_one_statement_takes_are_several_statements(bench: Bench) -> None:
    rows = [("x", number, None, 0, None, "", None) for number in range(10_001)]
    assert bench.run(INSERT, rows) == 10_001
    assert len(bench.attempts()) == 10_001


def test_only_rows_that_are_found_count(bench: Bench) -> None:
    insert = MetaRow.insert(key="", value="").on_conflict_ignore()
    assert bench.run(insert, [("a", "1"), ("b", "2")]) == 2
    assert bench.run(insert, [("b", "3"), ("c", "4"), ("c", "5")]) == 1
    update = MetaRow.update(value="").where(MetaRow.key == "")
    assert bench.run(update, [("6", "a"), ("7", "nobody")]) == 1
    delete = MetaRow.delete().where(MetaRow.key == "")
    assert bench.run(delete, [("b",), ("nobody",), ("c",)]) == 2
    kept = MetaRow.select(MetaRow.value).where(MetaRow.key == "a").tuples().execute(bench.db)
    assert list(kept) == [("6",)]
    assert bench.run(delete, []) == 0


@pytest.mark.parametrize("count", [1, 2])
def test_what_no_table_may_hold_is_refused(bench: Bench, count: int) -> None:
    insert = MetaRow.insert(key="", value="")
    with pytest.raises(psycopg.DataError):
        bench.run(insert, [(f"key{place}", "\0") for place in range(count)])


@pytest.mark.parametrize("count", [1, 1000])
def test_a_batch_is_one_statement(open_postgres: Callable[..., Storage], count: int) -> None:
    storage = open_postgres()
    seen: list[Any] = []

    class Counting(psycopg.Cursor[Any]):
        def execute(self, query: Any, *values: Any, **more: Any) -> Any:
            seen.append(query)
            return super().execute(query, *values, **more)

    def write(db: peewee.Database) -> None:
        db.connection().cursor_factory = Counting
        row = JournalRow.insert(id="", at=0, kind="", details="")
        statement = storage.dialect.compile(row)
        storage.dialect.execute_many(db, statement, [(str(n), n, "", "") for n in range(count)])

    storage.write(write).get(timeout=WAIT)
    assert len(seen) == 2, "the rows, and the commit"
