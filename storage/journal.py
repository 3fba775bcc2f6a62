"""The journal: what happened to definitions, to processes and to time itself."""

from __future__ import annotations

from typing import Any

import msgspec
import peewee

from kalends.ids import IdSource
from kalends.model import JournalEntry, JournalKind, Page
from kalends.queries import JournalQuery
from kalends.storage.models import JournalRow
from kalends.storage.paging import Strand, page
from kalends.storage.prepared import Prepared, hole
from kalends.storage.rows import JOURNAL_COLUMNS, dump, journal_of

__all__ = [
    "Stamp", "entries_after", "entry_row", "list_entries", "note_down", "write_entry",
]  # fmt: skip

_INSERT = Prepared(JournalRow.insert({field: hole(field.name) for field in JOURNAL_COLUMNS}))


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """When and on which node something is written, where its ids come from, and who asked for it.

    ``now`` is in microseconds.
    """

    now: int
    ids: IdSource
    node: str
    author: str | None = None
    note: str | None = None


def note_down(
    db: peewee.Database, kind: JournalKind, stamp: Stamp, event_id: str | None, **details: Any
) -> str:
    """Write one line about an event; its id."""
    return write_entry(
        db,
        kind,
        now=stamp.now,
        ids=stamp.ids,
        event_id=event_id,
        node=stamp.node,
        author=stamp.author,
        note=stamp.note,
        **details,
    )


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
) -> str:
    """Write one line; its id. ``details`` are JSON values."""
    entry_id = ids()
    _INSERT.change(
        db,
        id=entry_id,
        at=now,
        kind=kind.value,
        event_id=event_id,
        node=node,
        author=author,
        note=note,
        details=dump(details),
    )
    return entry_id


def entry_row(
    entry_id: str, kind: JournalKind, stamp: Stamp, event_id: str | None, **details: Any
) -> tuple[Any, ...]:
    """The values of ``JOURNAL_COLUMNS`` for one line, for whoever writes many at once."""
    text = dump(details)
    return entry_id, stamp.now, kind.value, event_id, stamp.node, stamp.author, stamp.note, text


def entries_after(db: peewee.Database, after: str, *, node: str, limit: int) -> list[JournalEntry]:
    """What a node has written after the entry ``after``, oldest first."""
    select = (
        JournalRow.select(*JOURNAL_COLUMNS)
        .where(JournalRow.id > after, JournalRow.node == node)
        .order_by(JournalRow.id)
        .limit(limit)
    )
    return [journal_of(row) for row in select.tuples().execute(db)]


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
        Strand(select, [JournalRow.id]),
        kind="journal",
        descending=True,
        limit=query.limit,
        cursor=query.cursor,
        make=journal_of,
    )
