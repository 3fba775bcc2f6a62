"""Storage: the ledger on disk, behind units of work."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

from kalends.errors import StorageRefused, ValidationFailed
from kalends.settings import Settings
from kalends.storage.engine import Storage
from kalends.storage.sqlite import SqliteDialect

__all__ = ["Storage", "open_storage"]

_PREFIX = "sqlite://"


def open_storage(database: str | os.PathLike[str], settings: Settings) -> Storage:
    """The storage that ``database`` names, not opened yet.

    Takes ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``sqlite://`` or ``:memory:``
    (private memory), or a path. Raises ``ValidationFailed`` for another type and ``StorageRefused``
    for another kind of database.
    """
    dialect = SqliteDialect(
        _path_of(database), durability=settings.durability, busy_timeout=settings.busy_timeout
    )
    return Storage(dialect, readers=settings.readers)


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
    if database.startswith(_PREFIX + "/"):
        return _path_of(unquote(database.removeprefix(_PREFIX + "/")))
    if "://" in database:
        raise StorageRefused(
            f"{database.split('://')[0]!r} databases are not supported; use 'sqlite:///file.db'",
            reason="unsupported_url",
        )
    return Path(database).absolute()
