"""Queries whose SQL is spelled out once, for those that run at every claim.

Peewee takes ten to a hundred times as long to build a statement as SQLite takes to run it. A
prepared query is built at its first use on a kind of database; the values that differ from one run
to the next stand in it as ``hole("name")`` and are given by that name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

__all__ = ["Prepared", "hole"]


class _Name:
    """Stands for a value in a statement."""

    def __init__(self, name: str) -> None:
        self.name = name


def hole(name: str) -> Any:
    """A place in a query for a value that is given when it is run, as it is stored."""
    return peewee.Value(_Name(name), converter=False)


class Prepared:
    """A query to be run often."""

    def __init__(self, query: Any, *, claims: Sequence[type[peewee.Model]] = ()) -> None:
        """``claims``: the tables whose rows the query is about to take. Where the database locks
        rows (PostgreSQL), it locks them, and leaves out those that somebody else has locked: one
        row in another session's hand must not hold up all others.
        """
        self._query = query
        self._claims = claims
        self._built: dict[type, tuple[str, tuple[Any, ...]]] = {}

    def rows(self, db: peewee.Database, **values: Any) -> list[tuple[Any, ...]]:
        """All rows, ``values`` being in their holes."""
        rows: list[tuple[Any, ...]] = self._run(db, values).fetchall()
        return rows

    def change(self, db: peewee.Database, **values: Any) -> int:
        """Run an update; how many rows it changed."""
        return int(db.rows_affected(self._run(db, values)))

    def value(self, db: peewee.Database, **values: Any) -> Any:
        """The first column of the first row; None where there is none."""
        rows = self.rows(db, **values)
        return rows[0][0] if rows else None

    def _run(self, db: peewee.Database, values: dict[str, Any]) -> Any:
        found = self._built.get(type(db))
        if found is None:
            found = self._built[type(db)] = self._build(db)
        sql, parameters = found
        filled = [values[p.name] if type(p) is _Name else p for p in parameters]
        return db.connection().execute(sql, filled)  # Peewee's own way takes as long as the query

    def _build(self, db: peewee.Database) -> tuple[str, tuple[Any, ...]]:
        query = self._query
        if self._claims and db.for_update:
            query = query.for_update(of=self._claims, skip_locked=True)
        sql, parameters = db.get_sql_context().sql(query).query()
        return sql, tuple(parameters)
