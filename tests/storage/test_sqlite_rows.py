"""Many rows in a few statements: the same as one statement a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import pytest

from kalends.storage.sqlite_rows import blocks

INSERT = 'INSERT OR IGNORE INTO "t" ("id", "a", "b") VALUES (?, ?, ?)'
UPDATE = 'UPDATE "t" SET "a" = ?, "b" = COALESCE("b", ?) WHERE ("t"."id" = ? AND "t"."a" = ?)'
COUNTS = (0, 1, 7, 8, 9, 39, 40, 127, 128, 300)


@pytest.fixture
def connection() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.execute('CREATE TABLE "t" ("id" TEXT PRIMARY KEY, "a" INTEGER, "b" TEXT)')
    return connection


def run(connection: apsw.Connection, sql: str, rows: Sequence[Sequence[Any]]) -> int:
    before, statements = connection.total_changes(), 0
    for statement, values in blocks(sql, rows):
        connection.executemany(statement, values)
        statements += len(values)
    assert statements <= 3 + 3 + 7 + len(rows) // 128
    return connection.total_changes() - before


def contents(connection: apsw.Connection) -> list[tuple[Any, ...]]:
    return list(connection.execute('SELECT "id", "a", "b" FROM "t" ORDER BY "id"'))


@pytest.mark.parametrize("count", COUNTS)
def test_as_many_rows_as_you_like_are_inserted_but_for_those_that_are_there(
    connection: apsw.Connection, count: int
) -> None:
    rows = [(f"{number:04}", number, None) for number in range(count)]
    assert run(connection, INSERT, rows) == count
    assert contents(connection) == rows
    more = [*rows, ("new", 1, "b")]
    assert run(connection, INSERT, more) == 1
    assert contents(connection) == more


@pytest.mark.parametrize("count", COUNTS)
def test_each_row_is_updated_with_its_own_values_where_it_meets_the_condition(
    connection: apsw.Connection, count: int
) -> None:
    rows = [(f"{number:04}", number, "b" if number % 2 else None) for number in range(count)]
    connection.executemany(INSERT, rows)
    changes = [(None, f"new {number}", id_, number + (number % 3 == 0)) for id_, number, _ in rows]
    assert run(connection, UPDATE, changes) == sum(number % 3 != 0 for number in range(count))
    expected = [
        row if number % 3 == 0 else (row[0], None, "b" if number % 2 else f"new {number}")
        for number, row in enumerate(rows)
    ]
    assert contents(connection) == expected


@pytest.mark.parametrize(
    "sql",
    [
        'DELETE FROM "t" WHERE "id" = ?',
        'UPDATE "t" SET "a" = ?',
        'UPDATE "t" SET "a" = (SELECT 1 FROM "t" WHERE "id" = ?) WHERE "id" = ?',
    ],
)
def test_what_cannot_be_spelled_out_stays_as_it_is(sql: str) -> None:
    rows = [(number,) for number in range(20)]
    assert list(blocks(sql, rows)) == [(sql, rows)]
