"""From what names a database to its storage."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

from kalends.errors import StorageRefused, ValidationFailed
from kalends.settings import Settings
from kalends.storage.dialect import Dialect
from kalends.storage.engine import Storage
from kalends.storage.sqlite import SqliteDialect
from kalends.storage.sqlite_reader import SqliteReader

__all__ = ["open_storage"]

_SQLITE = "sqlite://"
_POSTGRES = ("postgresql://", "postgres://")


def open_storage(database: str | os.PathLike[str], settings: Settings) -> Storage:
    """The storage that ``database`` names, not opened yet.

    Takes ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``sqlite://`` or ``:memory:``
    (private memory), a path, or ``postgresql://user@host/name``. Raises ``ValidationFailed`` for
    another type and ``StorageRefused`` for another kind of database, or one whose driver is not
    installed.
    """
    if type(database) is str and database.startswith(_POSTGRES):
        dialect = _postgres(database, settings)
    else:
        path = _path_of(database)
        kind = SqliteReader if not settings.enabled and SqliteReader.suits(path) else SqliteDialect
        dialect = kind(path, durability=settings.durability, busy_timeout=settings.busy_timeout)
    return Storage(dialect, readers=settings.readers)


def _postgres(url: str, settings: Settings) -> Dialect:
    try:
        from kalends.storage.postgres import Address, PostgresDialect
    except ImportError as error:
        raise StorageRefused(
            "PostgreSQL needs psycopg, which is not installed: pip install 'kalends[postgres]'",
            reason="missing_driver",
        ) from error
    return PostgresDialect(
        Address.read(url, patience=settings.busy_timeout),
        durability=settings.durability,
        busy_timeout=settings.busy_timeout,
        lease=settings.lease,
    )


def _storable(path: str) -> bool:
    """Whether a file system may have such a path."""
    try:
        return bool(path) and "\0" not in path and bool(os.fsencode(path))
    except UnicodeEncodeError:
        return False


def _path_of(database: object) -> Path | None:
    if isinstance(database, os.PathLike):
        database = os.fspath(database)
    if type(database) is not str or not _storable(database):
        raise ValidationFailed(
            "database must be a URL such as 'sqlite:///kalends.db', or a path", path="database"
        )
    if database in (":memory:", "sqlite://", "sqlite:///:memory:", "sqlite:///"):
        return None
    if database.startswith(_SQLITE + "/"):
        return _path_of(unquote(database.removeprefix(_SQLITE + "/")))
    if database.startswith(_SQLITE):
        raise StorageRefused(
            "a SQLite URL has three slashes before a relative path and four before an absolute "
            "one: 'sqlite:///file.db', 'sqlite:////srv/file.db'",
            reason="unsupported_url",
        )
    if "://" in database:
        raise StorageRefused(
            f"{database.split('://')[0]!r} databases are not supported; use 'sqlite:///file.db' or "
            "'postgresql://user@host/name'",
            reason="unsupported_url",
        )
    return Path(database).absolute()
