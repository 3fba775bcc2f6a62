"""What is the same in all stories is done once: ten thousand of them are lived through."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, NoReturn
from unittest.mock import patch

import structlog

from kalends.storage import migrations, zones
from kalends.storage.sqlite import SqliteDialect
from kalends.triggers.zone_files import digests

__all__ = ["sparing"]

_spell = SqliteDialect.compile
_zones = functools.cache(digests)
_spelled: dict[int, tuple[Any, str]] = {}
"""By the identity of a query: itself, so that no other one gets that, and its text."""
_FEW = 100
"""More are not kept: a few are made anew each time."""


def _spell_once(dialect: SqliteDialect, query: Any) -> str:
    found = _spelled.get(id(query))
    if found is not None:
        return found[1]
    text = _spell(dialect, query)
    if len(_spelled) < _FEW:
        _spelled[id(query)] = query, text
    return text


_create = migrations.create
_schema: list[str] = []


def _create_again(db: Any) -> None:
    """Make the tables by the statements that made them the first time."""
    if _schema:
        db.connection().execute(";".join(_schema))
        return
    _create(db)
    made = db.connection().execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
    _schema.extend(sql for (sql,) in made)
    _schema.append(f"INSERT INTO kalends_meta VALUES ('schema', '{migrations.SCHEMA}')")


@contextlib.contextmanager
def sparing() -> Iterator[None]:
    """While entered: nobody hears what is logged, the files of zones are read once, and the text of
    a query that every start makes, and of the tables, is made once.
    """

    def drop(*_: object) -> NoReturn:
        raise structlog.DropEvent

    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(processors=[drop])
    try:
        with (
            patch.object(zones, "digests", _zones),
            patch.object(SqliteDialect, "compile", _spell_once),
            patch.object(migrations, "create", _create_again),
        ):
            yield
    finally:
        structlog.reset_defaults()
        if before is not None:
            structlog.configure(**before)
