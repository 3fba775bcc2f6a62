"""One statement for any number of rows, made of one that Peewee spells for a single row.

The values come as columns, an array each, and the server puts them side by side (``unnest``). So a
thousand rows take one way to the server and one plan, and the transaction they are in is short. No
two rows of a batch may be about the same row of a table: a statement changes a row once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import peewee
import psycopg

__all__ = ["Together"]

Row = Sequence[Any]
_MOST = 5000
"""Rows of one statement: some megabytes, where they are events."""
_VALUE = re.compile(r'"(\w+)"[^"%]*%s')
"""A value, and the column that it is given to or compared with."""
_VALUES = re.compile(r"VALUES \([%s, ]+\)")


class Together:
    """An insert, update or delete whose values are given when it is run, for many rows at once."""

    def __init__(self, sql: str, query: Any, types: Mapping[str, str]) -> None:
        """``sql`` spells ``query``, each of its values ``%s``; ``types``: the database's names for
        Peewee's types of fields.
        """
        columns = query.model._meta.columns
        inserts = isinstance(query, peewee.Insert)
        names = _inserted(sql) if inserts else _VALUE.findall(sql)
        kinds = [columns[name].field_type for name in names]
        self._arrays = [_texts if kind == "TEXT" else _numbers for kind in kinds]
        self._one = sql.encode()
        given = f"unnest({', '.join(_parameter(types.get(kind, kind)) for kind in kinds)})"
        self._all = (_insert(sql, given) if inserts else _change(sql, given, len(kinds))).encode()

    def run(self, connection: psycopg.Connection[Any], rows: Sequence[Row]) -> int:
        """How many rows it has changed or inserted."""
        if len(rows) == 1:
            return int(connection.execute(self._one, rows[0]).rowcount)
        changed = 0
        for part in _parts(rows):
            columns = zip(*part, strict=True)
            arrays = [array(column) for array, column in zip(self._arrays, columns, strict=True)]
            changed += connection.execute(self._all, arrays, prepare=True).rowcount
        return changed


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    rest = iter(rows)
    while part := list(islice(rest, _MOST)):
        yield part


# -- the statement -----------------------------------------------------------------------------


def _inserted(sql: str) -> list[str]:
    """The columns that an insert names."""
    return re.findall(r'"(\w+)"', sql[: sql.index("VALUES")])[1:]  # the first one is the table


def _insert(sql: str, given: str) -> str:
    return _VALUES.sub(lambda _: f"SELECT * FROM {given}", sql, count=1)  # noqa: S608


def _change(sql: str, given: str, count: int) -> str:
    """An update or a delete: each value is a column of what is given."""
    places = iter(range(count))
    head, tail = re.sub("%s", lambda _: f"given.v{next(places)}", sql).split(" WHERE ", 1)
    names = ", ".join(f"v{place}" for place in range(count))
    beside = "USING" if sql.startswith("DELETE") else "FROM"
    return f"{head} {beside} {given} AS given({names}) WHERE {tail}"


def _parameter(kind: str) -> str:
    """A column of values as a parameter; text sorts as that of the tables does."""
    name, _, collation = kind.partition(" COLLATE ")
    return f"%s::{name}[]" + (f" COLLATE {collation}" if collation else "")


# -- the values --------------------------------------------------------------------------------
# Written down here, for the driver looks at each of them: for a thousand rows that takes longer
# than the statement.


def _numbers(column: Sequence[int | float | None]) -> str:
    return "{" + ",".join(["NULL" if value is None else f"{value}" for value in column]) + "}"


def _texts(column: Sequence[str | None]) -> str:
    quoted = ["NULL" if value is None else f'"{value}"' for value in column]
    written = ",".join(quoted)
    if "\\" in written or written.count('"') != 2 * (len(column) - quoted.count("NULL")):
        written = ",".join([_quoted(value) for value in column])
    return "{" + written + "}"


def _quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
