"""The journal: what happened to definitions, to processes and to time itself."""

from __future__ import annotations

from typing import Any

import peewee

from kalends.ids import IdSource
from kalends.model import JournalEntry, JournalKind, Page
from kalends.queries import JournalQuery
from kalends.storage.models import JournalRow
from kalends.storage.paging import page
from kalends.storage.rows import JOURNAL_COLUMNS, dump, journal_of

__all__ = ["list_entries", "write_entry"]

# Spelled out once: Peewee takes longer to build the statement than SQLite to run it.
_INSERT = JournalRow.insert(
    id="", at=0, kind="", event_id=None, node=None, author=None, note=None, details=""
).sql()[0]


def write_entry(
    db: peewee.Database,
    kind: JournalKind,
    *,
    now: int,
    ids: IdSource,
    event_id: str | None = None,
    node: str | None = None,
    author: str | None = None,
    note: str | None = None,
    **details: Any,
) -> None:
    """Write one line. ``details`` are JSON values."""
    row = (ids(), now, kind.value, event_id, node, author, note, dump(details))
    db.execute_sql(_INSERT, row)


def list_entries(db: peewee.Database, query: JournalQuery) -> Page[JournalEntry]:
    """A page of entries, newest first."""
    select = JournalRow.select(*JOURNAL_COLUMNS, JournalRow.id)
    if query.event_id is not None:
        select = select.where(JournalRow.event_id == query.event_id)
    if query.kind is not None:
        select = select.where(JournalRow.kind == query.kind)
    if query.since is not None:
        select = select.where(JournalRow.at >= query.since)
    if query.until is not None:
        select = select.where(JournalRow.at < query.until)
    return page(
        db,
        select,
        keys=[JournalRow.id],
        kind="journal",
        descending=True,
        limit=query.limit,
        cursor=query.cursor,
        make=journal_of,
    )
