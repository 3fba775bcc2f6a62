"""Facts about the database itself, by name: how far a walk has come, when somebody was alive."""

from __future__ import annotations

import peewee

from kalends.storage.models import MetaRow
from kalends.storage.paging import first_row

__all__ = ["fact", "forget_fact", "put_fact"]


def fact(db: peewee.Database, key: str) -> str | None:
    """What is noted under a name, or None."""
    row = first_row(db, MetaRow.select(MetaRow.value).where(MetaRow.key == key))
    return None if row is None else str(row[0])


def put_fact(db: peewee.Database, key: str, value: str) -> None:
    """Note it, in place of what was noted before."""
    MetaRow.insert(key=key, value=value).on_conflict(
        conflict_target=[MetaRow.key], preserve=[MetaRow.value]
    ).execute(db)


def forget_fact(db: peewee.Database, key: str) -> None:
    """Have nothing noted under a name."""
    MetaRow.delete().where(MetaRow.key == key).execute(db)
